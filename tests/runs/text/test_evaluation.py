"""Which checkpoints are evaluated, where results go, and the objective that text is measured with."""

import re
from dataclasses import replace

import pytest

from scalecli.data.tasks.task import Task
from scalecli.errors import ConfigurationError, MissingError
from scalecli.manifest import Parent, load_manifest, manifest_hash
from scalecli.models.building import new_model
from scalecli.runs.evaluation import default_storage, open_checkpoints
from scalecli.runs.tasks.evaluation import name_of_tasks
from scalecli.runs.text.evaluation import name_of_text, objective_of
from scalecli.runs.trained import Trained
from scalecli.storage.layout import MANIFEST
from scalecli.storage.run_storage import RunStorage
from tests.analysis.runs import child_of, save_run
from tests.runs.conftest import command

OBJECTIVE = {"name": "span corruption", "inputs_length": 40, "noise_density": 0.3, "validation_examples": 7}


def trained(directory, step=300):
    return Trained(RunStorage(directory), load_manifest(directory), step)


def test_each_task_split_text_and_step_has_a_place_of_its_own(tmp_path):
    run = save_run(tmp_path / "run") and trained(tmp_path / "run")
    task = Task.from_flags(name="sst2", train="a.tsv", input="sentence", target="label")
    default = default_storage([run], name_of_tasks([task], "train"))
    assert default.directory == tmp_path / "run/eval/sst2-train-300"
    both = [run, trained(tmp_path / "run", 200)]
    assert default_storage(both, name_of_tasks([task], "test", ranked=True)).name == "sst2-test-ranked-all"
    two = name_of_tasks([task, replace(task, name="cola")], "train")
    assert re.fullmatch(r"2-tasks-[0-9a-f]{8}-train", two)
    assert two != name_of_tasks([task, replace(task, name="rte")], "train")
    texts = [tmp_path / name for name in ("a.txt", "b.txt")]
    for text in texts:
        text.write_text(f"some words of {text.name}\n")
    first, second = (name_of_text((str(text),)) for text in texts)
    assert first != second and re.fullmatch(r"text-[0-9a-f]{8}", first)
    assert default_storage(both[1:], first).directory == tmp_path / "run/eval" / f"{first}-200"


def test_checkpoints_are_chosen(reference, tmp_path):
    """The reference run keeps its last two, and step 6 by name."""
    kept = [6, 20, 24]
    best = load_manifest(reference).best.step
    folders = [checkpoint.checkpoint for checkpoint in open_checkpoints(str(reference), "all", tmp_path)]
    assert folders == [reference / f"checkpoints/{step:08d}" for step in kept]
    for which, step in ((None, 24), ("last", 24), ("6", 6), ("best", best)):
        assert [checkpoint.step for checkpoint in open_checkpoints(str(reference), which, tmp_path)] == [step]
    assert [
        checkpoint.step for checkpoint in open_checkpoints(str(reference / "checkpoints/00000006"), None, tmp_path)
    ] == [6]
    with pytest.raises(ConfigurationError, match="'first'; accepted: all, best, last"):
        open_checkpoints(str(reference), "first", tmp_path)
    with pytest.raises(MissingError, match="no checkpoint of step 7; there are 6, 20, 24"):
        open_checkpoints(str(reference), "7", tmp_path)


def test_results_never_take_the_place_of_a_training_run(material, reference, tmp_path):
    arguments = ["--text", material.text, "--batch", 8, "--examples", 8, "--cache-directory", material.folder / "cache"]
    before = (reference / MANIFEST).read_bytes()
    line = command("eval", reference, "--run", reference, *arguments).failed(3)
    assert line.startswith(f"{reference}: holds a pretrain run") and "--run" in line
    assert (reference / MANIFEST).read_bytes() == before
    (tmp_path / MANIFEST).write_text("schema: 1\nnotes: mine\n")
    line = command("eval", reference, "--run", tmp_path, *arguments).failed(3)
    assert line.startswith(f"{tmp_path}: what is there can't be replaced") and "--run" in line
    assert (tmp_path / MANIFEST).read_text() == "schema: 1\nnotes: mine\n"


def test_the_same_evaluation_again_takes_the_place_of_its_own(material, reference, tmp_path):
    arguments = ["--text", material.text, "--batch", 8, "--examples", 8, "--cache-directory", material.folder / "cache"]
    for _ in range(2):
        ran = command("eval", reference, "--run", tmp_path / "eval", *arguments)
        assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "eval")
    assert manifest.kind == "eval" and manifest.throughput is None
    assert 0 < manifest.examples_per_s < 8e4  # 8 examples take more than 0.1 ms
    assert f"{manifest.examples_per_s:,.1f} examples/s; results in {tmp_path / 'eval'}" in ran.err


def test_an_evaluation_lasts_from_its_start_to_its_end(material, reference, tmp_path, monkeypatch):
    times = ["2026-01-01T00:00:00+00:00"]
    monkeypatch.setattr("scalecli.runs.evaluation.utc_now", lambda: times[-1])

    def new_model_a_second_later(*arguments):
        times.append("2026-01-01T00:00:01+00:00")
        return new_model(*arguments)

    monkeypatch.setattr("scalecli.models.building.new_model", new_model_a_second_later)
    arguments = ["--text", material.text, "--batch", 8, "--examples", 8, "--cache-directory", material.folder / "cache"]
    assert command("eval", reference, "--run", tmp_path / "eval", *arguments).code == 0
    manifest = load_manifest(tmp_path / "eval")
    assert [manifest.created, manifest.finished] == times


def test_the_objective_is_that_of_the_run_or_of_the_one_that_it_was_made_from(tmp_path):
    pretrained = save_run(tmp_path / "pretrained", objective=OBJECTIVE)
    assert objective_of(trained(tmp_path / "pretrained")).inputs_length == 40
    tuned = save_run(tmp_path / "deep/tuned", **child_of(pretrained, "../../pretrained"), objective=None)
    save_run(tmp_path / "again", **child_of(tuned, "deep/tuned/run.yaml"), objective=None)
    (tmp_path / "again/deep").symlink_to(tmp_path / "deep")
    for name in ("deep/tuned", "again"):
        objective = objective_of(trained(tmp_path / name))
        assert (objective.inputs_length, objective.noise_density) == (40, 0.3)


@pytest.mark.parametrize("path", ["../gone", "../\0", "../damaged"])
def test_a_pretrained_run_that_cannot_be_read_is_named(tmp_path, path):
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / MANIFEST).write_text("schema: 1\nnam: x\n")
    fields = child_of(save_run(tmp_path / "a"), path)
    save_run(tmp_path / "tuned", **fields, objective=None)
    with pytest.raises(MissingError) as error:
        objective_of(trained(tmp_path / "tuned"))
    assert str(tmp_path / "tuned") + "/" + path in str(error.value)


def test_runs_without_an_objective_among_them_are_an_error_and_no_endless_search(tmp_path):
    save_run(tmp_path / "a", **{**child_of(save_run(tmp_path / "b"), "../b"), "objective": None})
    parent = Parent(path="../a", sha256=manifest_hash(tmp_path / "a"), step=300)
    save_run(tmp_path / "b", kind="finetune", parent=parent, objective=None)
    for name in "ab":
        with pytest.raises(MissingError, match="among its own parents"):
            objective_of(trained(tmp_path / name))
    save_run(tmp_path / "c", kind="finetune", objective=None)
    with pytest.raises(MissingError, match="neither an objective nor a parent"):
        objective_of(trained(tmp_path / "c"))
