"""Vision transformers in a comparison: few-shot accuracy of runs and of Table 5, against what they cost."""

from dataclasses import replace

import pytest

from scalecli.analysis.papers.published import find_published
from scalecli.analysis.rows.comparison import dominating_rows
from scalecli.analysis.rows.fairness import differences
from scalecli.analysis.rows.sources import row_of_published, row_of_run, with_assumed_data
from tests.analysis.runs import few_shot_run, image_data, save_run
from tests.documents import models


@pytest.fixture
def compare(invoke):
    def compare(*arguments):
        code, out, err = invoke("compare", *arguments)
        assert code == 0, err
        return out, err

    return compare


def table_5():
    return [row_of_published(model) for model in find_published("table-5")]


def test_a_run_s_row_has_what_table_5_prints(tmp_path):
    row = row_of_run(few_shot_run(tmp_path / "run", "vit-s-nl24", 59.7), "paper")
    (printed,) = (each for each in table_5() if each.name == "vit-s-nl24")
    assert (row.few_shot, row.upstream, row.downstream) == (59.7, None, None)
    assert row.few_shot_images == printed.few_shot_images == "ImageNet, 10 a class"
    assert row.parameters == pytest.approx(printed.parameters, rel=0.01)
    assert row.flops == pytest.approx(printed.flops, rel=0.01)
    assert (row.flops_sequences, row.steps_per_s) == (1, 3.0)
    forward = row_of_run(str(tmp_path / "run/eval/few"), "forward")
    assert forward.flops == pytest.approx(2 * row.flops, rel=0.01)


def test_the_speed_is_that_of_the_training_while_it_is_there(tmp_path):
    evaluated = few_shot_run(tmp_path / "run", "vit-s", 45.0)
    with (tmp_path / "run/run.yaml").open("a") as file:
        file.write("# changed\n")
    assert row_of_run(evaluated, "paper").steps_per_s is None


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "ImageNet, 10 a class"),
        ({"shots": 5}, "ImageNet, 5 a class"),
        ({"data": image_data("imagenet2012/5.1.0 train[:1%]")}, "imagenet2012/5.1.0 train[:1%], 10 a class"),
        ({"data": image_data("cifar10/3.0.2 test")}, "cifar10/3.0.2 test, 10 a class"),
    ],
)
def test_what_was_measured_on_which_images(tmp_path, changes, expected):
    assert row_of_run(few_shot_run(tmp_path / "run", "vit-s", 45.0, **changes), "paper").few_shot_images == expected


def test_folders_of_other_images_are_told_apart_wherever_they_lie(tmp_path):
    names = set()
    for place, identity in (("/a/pets/test", "1"), ("/b/pets/test", "1"), ("/a/pets/test", "2")):
        data = image_data(place, "image-folder", identity)
        names.add(row_of_run(few_shot_run(tmp_path / "run", "vit-s", 45.0, data=data), "paper").few_shot_images)
    assert len(names) == 2 and all(name.startswith("pets/test (") for name in names)


def test_only_accuracies_on_the_same_images_are_compared(tmp_path):
    runs = [few_shot_run(tmp_path / "best", "vit-s", 63.0), few_shot_run(tmp_path / "other", "vit-s", 99.0, shots=5)]
    rows = with_assumed_data([*table_5(), *(row_of_run(run, "paper") for run in runs)])
    beaten = [differing and {row.name for row in differing} for differing in dominating_rows(rows, "flops", "few_shot")]
    assert beaten == [{"vit-s"}] * 4 + [[], None]
    # Nor do those of models that saw other images: then nothing is assumed of the paper's.
    longer = replace(rows[4], run=replace(rows[4].run, seen="9 images"))
    apart = with_assumed_data([*table_5(), rows[4], longer])
    assert dominating_rows(apart, "flops", "few_shot")[4:] == [None, None]
    # Speeds on other devices than the paper's 64 chips do not compare.
    assert dominating_rows(rows[:5], "steps_per_s", "few_shot")[3:] == [[], None]


def test_table_5_and_runs_side_by_side(compare, tmp_path):
    run = few_shot_run(tmp_path / "run", "vit-s-nl28", 62.0)
    out, err = compare("--published", "table-5", run, tmp_path / "run", "--cost", "flops,parameters,steps_per_s")
    header, _, *lines = out.splitlines()
    assert header.split()[-3:] == ["Chips", "Few-shot", "Pareto"] and "Upstream" not in header
    assert "FLOPs: paper, one image" in err
    assert len(lines) == 6
    assert "62*" in lines[0] and lines[0].rstrip().endswith("flops, parameters")
    assert not lines[1].rstrip().endswith("flops, parameters")  # the pretraining itself has no few-shot figure
    rows = models(compare("--published", "table-5", run, "--format", "json")[0])
    efficient = {"few_shot": ["flops"]}
    assert [row["pareto"] for row in rows] == [efficient, efficient, {}, efficient, {}]
    assert "few_shot" not in models(compare("small", "--format", "json")[0])[0]


def test_another_set_of_images_is_noted(compare, tmp_path):
    data = image_data("/somewhere/pets/test", "image-folder")
    err = compare("--published", "table-5", few_shot_run(tmp_path / "run", "vit-s", 45.0, data=data))[1]
    assert (
        "few-shot accuracy on the same images: pets/test (" in err
        and "ImageNet, 10 a class (vit-s (table-5), vit-b" in err
    )


def test_a_few_shot_figure_is_no_task_s_score(tmp_path):
    assert row_of_run(few_shot_run(tmp_path / "run", "vit-s", 45.0), "paper").downstream is None
    assert row_of_run(str(tmp_path / "run"), "paper").downstream is None


def test_runs_of_images_differ_in_their_images(tmp_path):
    runs = [few_shot_run(tmp_path / name, "vit-s", 45.0) for name in "ab"]
    other = image_data("x", "image-folder", "other")
    runs.append(few_shot_run(tmp_path / "c", "vit-s", 45.0, data=other))
    differing = {
        difference.what: difference.runs for difference in differences([row_of_run(run, "paper") for run in runs])
    }
    assert "data" in differing and "vocabulary" not in differing
    text = save_run(tmp_path / "text")
    differing = differences([row_of_run(run, "paper") for run in (text, str(tmp_path / "a"))])
    assert {"vocabulary", "image size"} <= {difference.what for difference in differing}
