import pytest

from scalecli.analysis.rows.upstream import final_results, upstream_of
from scalecli.manifest import Best, Parent, load_manifest
from tests.analysis.runs import child_of, save_run
from tests.manifests import example_manifest


def upstream(directory):
    known = upstream_of(f"{directory}/run.yaml", load_manifest(directory))
    return known and known.figure


def loss(value):
    return {"validation/negative_log_perplexity": value}


def test_final_results_are_of_the_best_step_else_of_the_last():
    results = {100: loss(-2.0), 200: loss(-2.5)}
    best = Best(step=100, rule="highest validation/negative_log_perplexity")
    assert final_results(example_manifest(results=results, best=best)) == loss(-2.0)
    assert final_results(example_manifest(results=results, best=None)) == loss(-2.5)
    assert final_results(example_manifest(results={}, best=None)) == {}


@pytest.mark.parametrize("path", ["../pretrained", "../pretrained/run.yaml"])
def test_a_finetuned_run_has_its_parent_s(tmp_path, path):
    pretrained = save_run(tmp_path / "pretrained")
    assert upstream(save_run(tmp_path / "tuned", **child_of(pretrained, path))) == -4.25


@pytest.mark.parametrize(
    ("step", "figure"), [(50, None), (100, -2.0), (150, -2.0), (200, -2.5), (249, -2.5), (250, -2.5), (300, -2.25)]
)
def test_an_absolute_parent_and_the_step_taken_from_it(tmp_path, step, figure):
    best = Best(step=100, rule="highest validation/negative_log_perplexity")
    results = {100: loss(-2.0), 200: loss(-2.5), 250: {"sst2/accuracy": 50.0}, 300: loss(-2.25)}
    pretrained = save_run(tmp_path / "elsewhere" / "a", results=results, best=best)
    tuned = save_run(tmp_path / "tuned", **child_of(pretrained, pretrained, step=step))
    assert upstream(tuned) == figure
    evaluated = save_run(tmp_path / "evaluated", **child_of(tuned, "../tuned", kind="eval", step=140))
    assert upstream(evaluated) == figure


def test_an_evaluation_of_a_finetuned_run_has_the_grandparent_s(tmp_path, monkeypatch):
    pretrained = save_run(tmp_path / "runs" / "pretrained")
    tuned = save_run(tmp_path / "runs" / "deep" / "tuned", **child_of(pretrained, "../../pretrained"))
    evaluated = save_run(tmp_path / "evaluated", **child_of(tuned, "../runs/deep/tuned", kind="eval"))
    assert upstream(evaluated) == -4.25
    # Whatever the working directory is, and although a path such as `run.yaml` has no directory.
    monkeypatch.chdir(evaluated)
    assert upstream_of("run.yaml", load_manifest("run.yaml")).figure == -4.25


def test_a_figure_of_its_own_comes_first(tmp_path):
    pretrained = save_run(tmp_path / "pretrained")
    own = {**child_of(pretrained, "../pretrained", kind="eval"), "results": {300: loss(-3.0)}}
    assert upstream(save_run(tmp_path / "evaluated", **own)) == -3.0


def test_further_pretraining_does_not_inherit(tmp_path):
    first = save_run(tmp_path / "first")
    second = save_run(tmp_path / "second", **child_of(first, "../first", kind="pretrain"))
    assert upstream(second) is None
    assert upstream(save_run(tmp_path / "tuned", **child_of(second, "../second"))) is None


def test_a_parent_that_went_on_training_gives_none(tmp_path):
    pretrained = save_run(tmp_path / "pretrained")
    tuned = save_run(tmp_path / "tuned", **child_of(pretrained, "../pretrained"))
    evaluated = save_run(tmp_path / "evaluated", **child_of(tuned, "../tuned", kind="eval"))
    assert upstream(evaluated) == -4.25
    save_run(tmp_path / "pretrained", steps=600)
    assert upstream(tuned) is None
    assert upstream(evaluated) is None


@pytest.mark.parametrize("path", ["../gone", "/gone/far", "memory://gone/run", "../\0", ".", "nofilesystem://x/y"])
def test_a_parent_that_is_not_there_gives_none(tmp_path, path):
    orphan = save_run(tmp_path / "orphan", **child_of(save_run(tmp_path / "a"), path))
    assert upstream(orphan) is None


def test_a_damaged_parent_gives_none(tmp_path):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / "run.yaml").write_text("schema: 1\nnam: x\n")
    assert upstream(save_run(tmp_path / "tuned", **child_of(tmp_path / "damaged", "../damaged"))) is None


def test_runs_that_name_each_other_come_to_an_end(tmp_path):
    tuned = child_of(save_run(tmp_path / "a"), "../a")
    save_run(tmp_path / "b", **tuned)
    save_run(tmp_path / "a", **child_of(tmp_path / "b", "../b"))
    itself = {**tuned, "parent": Parent(path=".", sha256="00" * 32, step=300)}
    for directory in (tmp_path / "a", tmp_path / "b", save_run(tmp_path / "c", **itself)):
        assert upstream(directory) is None


def test_parents_in_a_bucket():
    pretrained = save_run("memory://lineage/runs/pretrained")
    assert upstream(save_run("memory://lineage/tuned", **child_of(pretrained, "../runs/pretrained"))) == -4.25
    assert upstream(save_run("memory://other/tuned", **child_of(pretrained, pretrained))) == -4.25
