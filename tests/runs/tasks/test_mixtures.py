"""Two tasks learned as one mixture: rates, packing, every checkpoint scored, submissions, examples shown."""

import json
import re
import shutil
import zipfile

import pytest

from scalecli.manifest import load_manifest
from scalecli.specs import ModelSpec
from tests.runs.conftest import command
from tests.runs.tasks.test_finetuning import MARKERS, TASK, table

SECOND = TASK.replace("name: marker", "name: second").replace("[bad, good]", "[good, bad]")


@pytest.fixture(scope="module")
def tasks(material):
    """Two task files, the second with labels the other way round and fewer examples."""
    folder = material.folder / "two"
    for name, content, rows in (("marker", TASK, 300), ("second", SECOND, 100)):
        (folder / name).mkdir(parents=True)
        (folder / name / "train.tsv").write_text(table(rows, 1))
        (folder / name / "validation.tsv").write_text(table(40, 2))
        (folder / name / "test.tsv").write_text(re.sub("\t[01]\n", "\t-1\n", table(10, 3)))
        (folder / name / f"{name}.yaml").write_text(content + "test: test.tsv\n")
    return [folder / name / f"{name}.yaml" for name in ("marker", "second")]


# The reference run's vocabulary lacks some of the tasks' characters.
UNKNOWN = "of the tokens are unknown to the vocabulary; another vocabulary may know them"


def finetune(material, reference, tasks, directory, *arguments):
    usual = ["--batch", 16, "--steps", 60, "--learning-rate", 0.01, "--evaluation-batch", 32, "--checkpoint-every", 20]
    usual += ["--validate-every", 20, "--keep", 9, "--cache-directory", material.folder / "cache", "--run", directory]
    return command("finetune", reference, "--tasks", ",".join(map(str, tasks)), *usual, *arguments)


@pytest.fixture(scope="module")
def mixture(material, reference, tasks):
    directory = material.folder / "mixture"
    ran = finetune(material, reference, tasks, directory, "--packed")
    assert ran.code == 0, ran.err
    return directory


def test_the_manifest_says_what_was_mixed_at_which_rates(mixture):
    manifest = load_manifest(mixture)
    assert manifest.data.rates == {"marker": 0.75, "second": 0.25}
    assert manifest.data.name == "marker-second" and manifest.data.documents == 400
    assert list(manifest.data.tasks) == ["marker", "second"] and manifest.data.task is None
    assert manifest.best.rule == "highest mean_over_tasks"
    last = manifest.results[60]
    means = [(last[f"{task}/accuracy"] + last[f"{task}/matthews"]) / 2 for task in ("marker", "second")]
    assert last["mean_over_tasks"] == pytest.approx(sum(means) / 2)


def test_a_mixture_that_was_stopped_goes_on_and_another_is_refused(
    material, reference, tasks, mixture, tmp_path, no_training
):
    directory = shutil.copytree(mixture, tmp_path / "run")
    ran = finetune(material, reference, tasks, directory, "--packed", "--steps", 80)
    assert ran.code == 0, ran.err
    assert "going on from step 60" in ran.err
    line = finetune(material, reference, tasks, directory, "--packed", "--steps", 90, "--mixing", "equal").failed(3)
    assert "data.rates.marker: 0.75 in the run, 0.5 now" in line


def test_every_checkpoint_is_scored_and_the_best_named(material, mixture, tmp_path):
    arguments = ["--cache-directory", material.folder / "cache", "--batch", 32, "--format", "json"]
    ran = command("eval", mixture, "--checkpoints", "all", "--run", tmp_path / "eval", *arguments)
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "eval")
    assert sorted(manifest.results) == [20, 40, 60]
    averages = {step: found["mean_over_tasks"] for step, found in manifest.results.items()}
    assert manifest.best.step == max(averages, key=averages.get)
    assert manifest.results[60].items() >= load_manifest(mixture).results[60].items()
    rows = {row["result"]: row for row in json.loads(ran.out)["tables"]["results"]}
    assert rows["mean_over_tasks"]["value"] == pytest.approx(max(averages.values()))
    # Each task at its own best step.
    peaks = []
    for task in ("marker", "second"):
        means = {
            step: (found[f"{task}/accuracy"] + found[f"{task}/matthews"]) / 2
            for step, found in manifest.results.items()
        }
        step = max(means, key=means.get)
        peaks.append(means[step])
        assert rows[f"{task}/accuracy"]["peak_step"] == step
        assert rows[f"{task}/accuracy"]["peak"] == pytest.approx(manifest.results[step][f"{task}/accuracy"])
    assert rows["mean_over_tasks"]["peak"] == pytest.approx(sum(peaks) / 2)
    for step in (20, 40, 60):
        lines = (tmp_path / f"eval/predictions-{step}.jsonl").read_text().splitlines()
        assert [json.loads(line)["task"] for line in lines] == ["marker"] * 40 + ["second"] * 40
    ran = command("eval", mixture, "--checkpoints", "best", "--run", tmp_path / "best", *arguments)
    assert ran.code == 0, ran.err
    assert list(load_manifest(tmp_path / "best").results) == [load_manifest(mixture).best.step]


def test_one_task_of_the_mixture_can_be_measured_by_file(material, mixture, tasks, tmp_path):
    cache = ["--cache-directory", material.folder / "cache", "--batch", 32]
    ran = command("eval", mixture, "--tasks", tasks[1], "--run", tmp_path / "eval", *cache)
    assert ran.code == 0, ran.err
    of_all = load_manifest(mixture).results[60]
    assert load_manifest(tmp_path / "eval").results[60]["second/accuracy"] == of_all["second/accuracy"]


def test_a_test_set_without_labels_gives_predictions_and_submissions_but_no_score(material, mixture, tmp_path):
    folder = tmp_path / "data/SST-2"
    folder.mkdir(parents=True)
    (folder / "test.tsv").write_text(f"index\tsentence\n0\t{MARKERS[0]}\n1\t{MARKERS[1]}\n")
    arguments = ["--cache-directory", material.folder / "cache", "--batch", 4, "--run", tmp_path / "eval"]
    ran = command("eval", mixture, "--tasks", "sst2", "--data-dir", tmp_path / "data", "--split", "test", *arguments)
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "eval")
    assert manifest.results == {60: {}}
    assert "glue.zip: 1 of 11 files, without CoLA.tsv" in ran.err and any("glue.zip" in w for w in manifest.warnings)
    with zipfile.ZipFile(tmp_path / "eval/glue.zip") as archive:
        assert re.fullmatch(r"index\tprediction\n0\t[01]\n1\t[01]\n", archive.read("SST-2.tsv").decode())


def test_what_the_model_will_see_is_shown_and_nothing_started(material, reference, tasks, tmp_path):
    for packing in ("--packed", "--padded"):
        ran = finetune(material, reference, tasks, tmp_path / "run", packing, "--show-examples", 30)
        assert ran.code == 0, ran.err
        headings = re.findall(r"^example (\d+), (marker|second)$", ran.out, re.MULTILINE)
        assert [number for number, _ in headings] == [str(n) for n in range(1, 31)]
        assert len(re.findall(r"inputs: \d+ of 32 tokens", ran.out)) == 30
        assert ("  segment 2 text    marker" in ran.out) == (packing == "--packed")
        assert re.search(r"text    (good|bad)\n", ran.out) and "</s>" in ran.out
    assert not (tmp_path / "run").exists()


def test_rows_are_padded_where_an_architecture_refuses_packing(
    material, reference, tasks, tmp_path, monkeypatch, no_training
):
    monkeypatch.setattr(ModelSpec, "why_not_packed", lambda spec: f"{spec.architecture} mixes positions")
    ran = finetune(material, reference, tasks, tmp_path / "run", "--packed", "--steps", 2)
    assert ran.code == 0, ran.err
    said = "rows are padded, not packed: transformer mixes positions"
    manifest = load_manifest(tmp_path / "run")
    unknown = [f"{name}, train: 4.{digits}% {UNKNOWN}" for name, digits in (("marker", 54), ("second", 45))]
    assert manifest.warnings == [*unknown, said] and said in ran.err and not manifest.data.packed


def test_what_was_cut_or_left_out_is_counted_in_the_manifest(material, reference, tasks, tmp_path, no_training):
    for name in ("train.tsv", "validation.tsv", "test.tsv"):
        shutil.copy(tasks[0].parent / name, tmp_path)
    with (tmp_path / "train.tsv").open("a") as file:
        file.write(f"{MARKERS[0]} " * 40 + "\t1\n")
    (tmp_path / "marker.yaml").write_text(TASK + "examples: 500\n")
    ran = finetune(material, reference, [tmp_path / "marker.yaml"], tmp_path / "run", "--steps", 2)
    assert ran.code == 0, ran.err
    assert load_manifest(tmp_path / "run").warnings == [
        "marker, train: 1 of 301 inputs cut to 32 tokens",
        f"marker, train: 4.53% {UNKNOWN}",
        "marker, train: 301 examples; the whole set has 500",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--mixing", "marker=1"], 3, "none for second"),
        (["--mixing", "marker=1,second=2,third=1"], 3, "mixing weight of third: no task of this mixture"),
        (["--mixing", "marker"], 2, "--mixing: 'marker'; accepted: examples, equal, or weights"),
        (["--mixing-cap", 0], 3, "cap is 0"),
        (["--temperature", 0], 3, "temperature is 0"),
        (["--show-examples", 0], 2, "'--show-examples': 0 is not in the range"),
        (["--name", "x"], 2, "leave out --name"),
        (["--task", "x.yaml"], 2, "--tasks and --task are two ways"),
    ],
)
def test_what_cannot_be_is_one_line(material, reference, tasks, tmp_path, arguments, code, message):
    assert message in finetune(material, reference, tasks, tmp_path / "run", *arguments).failed(code)


@pytest.mark.parametrize(
    ("damage", "code", "message"),
    [
        (lambda text: text + "only one column\n", 4, "validation.tsv:42: 1 columns, expected 2"),
        (lambda text: text + "words\t7\n", 3, "validation.tsv:42: '7' is not a label of task marker"),
        (lambda text: text.splitlines()[0] + "\n", 4, "validation.tsv: no examples"),
        (lambda text: text + "\udcff\t1\n", 4, "validation.tsv:42: not UTF-8 (byte 0xff)"),
        (lambda text: "", 4, "no examples"),
    ],
)
def test_damaged_data_is_one_line_and_never_a_score(material, mixture, tasks, tmp_path, damage, code, message):
    for name in ("train.tsv", "validation.tsv", "test.tsv", "marker.yaml"):
        shutil.copy(tasks[0].parent / name, tmp_path)
    text = (tmp_path / "validation.tsv").read_text()
    (tmp_path / "validation.tsv").write_bytes(damage(text).encode("utf-8", "surrogateescape"))
    arguments = ["--cache-directory", material.folder / "cache", "--run", tmp_path / "eval"]
    line = command("eval", mixture, "--tasks", tmp_path / "marker.yaml", *arguments).failed(code)
    assert message in line
    assert not (tmp_path / "eval/run.yaml").exists() and not (tmp_path / "eval/predictions.jsonl").exists()


def test_a_line_of_a_megabyte_is_cut_and_counted(material, mixture, tasks, tmp_path):
    for name in ("train.tsv", "validation.tsv", "test.tsv", "marker.yaml"):
        shutil.copy(tasks[0].parent / name, tmp_path)
    with (tmp_path / "validation.tsv").open("a") as file:
        file.write("noise " * 170_000 + "\t1\n")
    arguments = ["--cache-directory", material.folder / "cache", "--run", tmp_path / "eval", "--batch", 32]
    ran = command("eval", mixture, "--tasks", tmp_path / "marker.yaml", *arguments)
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "eval")
    assert manifest.results[60]["marker/examples"] == 41
    assert "marker, validation: 1 of 41 inputs cut to 32 tokens" in manifest.warnings
