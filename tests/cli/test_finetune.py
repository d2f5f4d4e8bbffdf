"""Where `finetune` and `eval` look for a run, and where they put theirs; nothing here imports TensorFlow."""

import json
import re

import pytest

from scalecli.cli.main import run
from scalecli.manifest import save_manifest
from scalecli.runs.trained import open_trained
from scalecli.shape import presets
from scalecli.strict import write_yaml
from tests.manifests import example_manifest

TASK = {"name": "sst2", "train": "a.tsv", "validation": "a.tsv", "input": "{sentence}", "target": "label"}


@pytest.fixture(autouse=True)
def folder(tmp_path):
    """A run with a checkpoint in runs/first, and a task."""
    shape = presets()["tiny"].to_dict()
    save_manifest(example_manifest(shape=shape), tmp_path / "runs/first")
    description = {"step": 300, "architecture": "transformer", "shape": shape, "sha256": {}}
    write_yaml(tmp_path / "runs/first/checkpoints/00000300/checkpoint.yaml", description)
    (tmp_path / "a.tsv").write_text("sentence\tlabel\nfine\t1\n")
    write_yaml(tmp_path / "task.yaml", TASK)
    return tmp_path


@pytest.fixture
def finetune(invoke):
    """A dry run."""
    return lambda *arguments: invoke("finetune", *arguments, "--dry-run", "--format", "json")


@pytest.mark.parametrize(
    ("place", "model"),
    [
        ("runs", "first"),
        ("runs/first", "."),
        ("runs/first", "run.yaml"),
        ("runs/first/checkpoints", "00000300"),
        ("runs/first/checkpoints/00000300", "."),
    ],
)
def test_a_run_is_found_from_wherever_the_user_is(folder, finetune, monkeypatch, place, model):
    monkeypatch.chdir(folder / place)
    code, out, err = finetune(model, "--task", folder / "task.yaml")
    assert code == 0, err
    assert json.loads(out)["tables"]["plan"][0]["directory"] == str(folder / "runs/first-sst2")
    assert open_trained(model, folder).storage.directory == folder / "runs/first"


def test_a_name_that_is_no_folders_is_refused(folder, finetune):
    for name in ("glue/sst2", "..", "a\\b"):
        write_yaml(folder / "task.yaml", {**TASK, "name": name})
        code, _, err = finetune(folder / "runs/first", "--task", folder / "task.yaml")
        assert (code, err.count("\n")) == (3, 1)
        assert f"task.yaml: name: {name!r} can't name a folder" in err


def test_a_task_that_lacks_a_file_is_refused_before_anything_starts(folder, finetune):
    (folder / "a.tsv").unlink()
    code, _, err = finetune(folder / "runs/first", "--task", folder / "task.yaml")
    assert code == 4 and "a.tsv: no file matches" in err


@pytest.mark.parametrize("subcommand", ["finetune", "eval"])
def test_places_that_are_remote_and_in_no_bucket_are_refused(folder, capsys, subcommand):
    task = ["--task", str(folder / "task.yaml")]
    for arguments in (["s3://bucket/run"], [str(folder / "runs/first"), "--run", "s3://bucket/run"]):
        assert run([subcommand, *arguments, *task]) == 2
        assert re.fullmatch("error: s3://bucket/run: .*gs://BUCKET/FOLDER is accepted\n", capsys.readouterr().err)
