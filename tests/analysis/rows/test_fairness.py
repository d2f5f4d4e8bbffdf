from dataclasses import replace

import pytest

from scalecli.analysis.papers.published import published_models
from scalecli.analysis.rows.comparison import efficient_rows
from scalecli.analysis.rows.fairness import differences, trained_steps, unlike
from scalecli.analysis.rows.sources import row_of_published, row_of_run
from scalecli.manifest import Checkpoints
from tests.analysis.runs import c4_data, child_of, save_run
from tests.manifests import example_manifest

DATA = example_manifest().data
T5 = replace(DATA.vocabulary, name="t5", pieces=32_000)


def rows(directory, **runs):
    """A row for each run with its changed fields."""
    return [row_of_run(save_run(directory / name, **changes), "forward") for name, changes in runs.items()]


def runs_by_difference(rows):
    return {(difference.stage, difference.what): difference.runs for difference in differences(rows)}


def test_runs_that_were_made_alike_differ_in_nothing(tmp_path):
    alike = rows(tmp_path, a={}, b={"seed": 1, "size": "mini"}, c={"architecture": "glu"})
    assert differences(alike) == [] and unlike(alike, "upstream") == {}
    assert differences(rows(tmp_path, a={})) == []


def test_rows_of_tasks_may_be_as_long_as_their_examples_need(tmp_path):
    def of_task(most, inputs_length):
        task = {"name": "sst2", "lengths": {"inputs": most, "targets": 84}}
        return {"data": replace(DATA, kind="task", task=task, inputs_length=inputs_length)}

    assert differences(rows(tmp_path / "alike", a=of_task(512, 64), b=of_task(512, 128))) == []
    unlike_rows = rows(tmp_path / "unlike", a=of_task(512, 64), b=of_task(256, 64))
    assert runs_by_difference(unlike_rows) == {("pretraining", "inputs length"): {"512": ["a"], "256": ["b"]}}


@pytest.mark.parametrize(
    ("changes", "what", "values"),
    [
        ({"steps": 600}, "steps", ["300", "600"]),
        ({"batch": 64}, "batch", ["32", "64"]),
        ({"precision": "mixed_bfloat16"}, "precision", ["float32", "mixed_bfloat16"]),
        ({"data": replace(DATA, inputs_length=512)}, "inputs length", ["128", "512"]),
        ({"data": replace(DATA, name="other.txt", identity="ff")}, "data", ["train.txt", "other.txt"]),
        (
            {"data": replace(DATA, identity="ff" * 8)},
            "data",
            ["train.txt (00ff)", "train.txt (ffffffff)"],
        ),
        (
            {"data": replace(DATA, vocabulary=T5)},
            "vocabulary",
            ["train:8000, 8,000 pieces", "t5, 32,000 pieces"],
        ),
        ({"objective": {"noise_density": 0.3, "mean_span_length": 3.0}}, "objective noise_density", ["0.15", "0.3"]),
        ({"optimizer": {"name": "adafactor"}}, "optimizer learning_rate", ["0.01", "none"]),
    ],
)
def test_what_makes_a_comparison_unfair(tmp_path, changes, what, values):
    if "vocabulary" in what:
        changes = {"data": replace(DATA, vocabulary=replace(T5, sha256="cd" * 32))}
    assert runs_by_difference(rows(tmp_path, a={}, b=changes, c={}))[("pretraining", what)] == dict(
        zip(values, (["a", "c"], ["b"]), strict=True)
    )


def test_stages_are_compared_with_their_like(tmp_path):
    save_run(tmp_path / "short", steps=300)
    save_run(tmp_path / "long", steps=600)
    short, long = (child_of(tmp_path / name, f"../{name}") for name in ("short", "long"))
    tuned = rows(tmp_path, first={**short, "batch": 8}, second={**long, "batch": 16})
    assert runs_by_difference(tuned) == {
        ("pretraining", "steps"): {"300": ["first"], "600": ["second"]},
        ("finetuning", "batch"): {"8": ["first"], "16": ["second"]},
    }


def test_an_unfinished_run_counts_the_steps_that_it_has_done(tmp_path):
    kept = Checkpoints(directory="checkpoints", kept=[250])
    stopped = example_manifest(status="interrupted", steps=1000, results={}, best=None, checkpoints=kept)
    assert trained_steps(stopped) == 250
    assert trained_steps(replace(stopped, checkpoints=Checkpoints(directory="checkpoints"))) == 0
    assert trained_steps(example_manifest(start_step=100)) == 200
    both = runs_by_difference(rows(tmp_path, a={}, b={"status": "running", "steps": 1000}))
    assert both == {("pretraining", "status"): {"completed": ["a"], "running": ["b"]}}


def test_upstream_figures_of_other_texts(tmp_path):
    published = [row_of_published(published_models()[name]) for name in ("small", "switch-base")]
    on_c4 = rows(tmp_path, a={"data": c4_data()}, b={"data": replace(c4_data(), name="c4/en/2.3.0", identity="old")})
    assert unlike([*published, *on_c4], "upstream") == {}
    other = rows(
        tmp_path,
        c={"data": replace(DATA, name="a/b/train.txt")},
        d={"data": replace(c4_data(), name="c4/en.noblocklist")},
        e={"results": {}, "best": None},
    )
    assert unlike([*published[:1], *on_c4[:1], *other], "upstream") == {
        "C4 (English), 32,000 pieces": ["small", "a"],
        "train.txt (00ff), 8,000 pieces (abababab)": ["c"],
        "c4/en.noblocklist (c4), 32,000 pieces (abababab)": ["d"],
    }


def test_downstream_figures_of_other_tasks(tmp_path):
    published = [row_of_published(published_models()["small"])]
    everything = {"glue": 80.0, "average": 75.0, "mean_over_tasks": 77.0, "sst2/accuracy": 90.0}
    as_papers = rows(tmp_path, a={"results": {300: everything}})
    assert unlike([*published, *as_papers], "downstream") == {}
    few = {300: {"sst2/accuracy": 80.0, "cola/matthews": 40.0, "mean_over_tasks": 60.0, "sst2/loss": 1.0}}
    other = rows(tmp_path, b={"results": few}, c={"results": {300: {"sst2/accuracy": 80.0}}}, d={})
    assert unlike([*published, *other], "downstream") == {
        "GLUE, SuperGLUE and SQuAD": ["small"],
        "cola/matthews, sst2/accuracy": ["b"],
        "sst2/accuracy": ["c"],
    }
    # However good, it beats no model that was scored on other tasks.
    both = [row_of_published(published_models()[name]) for name in ("small", "base")]
    assert efficient_rows([*both, other[1]], "flops", "downstream") == [True, True, False]
