"""Pretraining runs from the command line: what they leave, and every way in which they can fail to start or go on."""

import errno
import json
import math
import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from scalecli.manifest import load_manifest
from scalecli.storage import layout
from scalecli.storage.layout import MANIFEST
from scalecli.training import checkpoints
from tests.runs.conftest import PIECES, SHAPE, command, metrics

QUALITY = "validation/negative_log_perplexity"
UNIGRAM = "validation/unigram_negative_log_perplexity"


def copied(directory, tmp_path):
    return pathlib.Path(shutil.copytree(directory, tmp_path / "copy"))


def test_a_run_leaves_its_figures_and_checkpoints(reference):
    manifest = load_manifest(reference)
    assert (manifest.kind, manifest.status, manifest.steps) == ("pretrain", "completed", 24)
    assert sorted(manifest.results) == [8, 16, 24]
    first, last = manifest.results[8], manifest.results[24]
    assert last[QUALITY] > first[QUALITY] + 0.1
    assert last[UNIGRAM] == first[UNIGRAM]
    assert -math.log(PIECES) < last[UNIGRAM] < -1
    assert (manifest.best.step, manifest.best.rule) == (24, f"highest {QUALITY}")
    assert manifest.throughput.steps_per_s > 0
    assert manifest.data.vocabulary.name == f"train:{PIECES}"
    assert manifest.data.vocabulary.pieces == PIECES
    assert manifest.parameters.total == manifest.parameters.embedding + manifest.parameters.non_embedding
    assert checkpoints.checkpoint_steps(reference / "checkpoints") == [6, 20, 24]
    assert (manifest.checkpoints.kept, manifest.checkpoints.named) == ([6, 20, 24], [6])
    figures = metrics(reference)
    losses = [figures[step, True]["loss"] for step in range(1, 25)]
    assert np.mean(losses[-4:]) < np.mean(losses[:4]) - 0.5
    assert {step: row for (step, is_training), row in figures.items() if not is_training} == manifest.results
    assert list((reference / "tensorboard").iterdir())


def test_the_command_of_a_completed_run_changes_nothing(material, reference):
    """Runs that started from this one know its manifest by its hash."""
    before = (reference / MANIFEST).read_bytes()
    ran = command(*material.reference(reference), "--format", "json")
    assert ran.code == 0, ran.err
    assert json.loads(ran.out)["tables"]["run"][0][QUALITY] == load_manifest(reference).results[24][QUALITY]
    assert (reference / MANIFEST).read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"batch": 16}, "batch: 8 in the run, 16 now"),
        ({"seed": 3}, "seed: 0 in the run, 3 now"),
        ({"dropout": 0.0}, "dropout: 0.1 in the run, 0.0 now"),
        ({"learning_rate": 0.02}, "schedule.learning_rate: 0.01 in the run, 0.02 now"),
        ({"vocabulary": "train:150"}, "data.vocabulary.name: train:200 in the run, train:150 now"),
        ({"inputs_length": 40}, "objective.inputs_length: 32 in the run, 40 now"),
        ({"validation_examples": 8}, "objective.validation_examples: 16 in the run, 8 now"),
        ({"text": SHAPE}, "data.identity"),
        ({"steps": 23}, "holds a run of 24 steps; 23 asked for"),
    ],
)
def test_another_configuration_is_refused_and_named(material, reference, tmp_path, change, message):
    if "text" in change:
        changed = tmp_path / "text.txt"
        changed.write_text(material.text.read_text() + "one more document\n")
        change = {"text": changed}
    before = (reference / MANIFEST).read_bytes()
    line = command(*material.reference(reference, **change)).failed(3)
    assert str(reference) in line
    assert message in line
    assert (reference / MANIFEST).read_bytes() == before


def test_more_steps_go_on_and_a_damaged_checkpoint_is_passed_over(material, reference, tmp_path):
    directory = copied(reference, tmp_path)
    file = directory / "checkpoints/00000024" / layout.WEIGHTS
    file.write_bytes(file.read_bytes()[:-8])
    ran = command(*material.reference(directory, steps=28, keep=1))
    assert ran.code == 0, ran.err
    assert f"{file}: damaged" in ran.err
    assert "going on from step 20" in ran.err
    manifest = load_manifest(directory)
    assert (manifest.status, manifest.steps, sorted(manifest.results)) == ("completed", 28, [8, 16, 24, 28])
    assert manifest.checkpoints.kept == [6, 28]
    (warning,) = manifest.warnings
    assert warning.startswith("resumed at step 20 on 20")
    before, after = metrics(reference), metrics(directory)
    assert {key: after[key] for key in before} == before
    assert (28, True) in after


def test_no_whole_checkpoint_is_an_error_and_not_a_new_start(material, reference, tmp_path):
    directory = copied(reference, tmp_path)
    for folder in (directory / "checkpoints").iterdir():
        (folder / layout.OPTIMIZER).unlink()
    line = command(*material.reference(directory, steps=28)).failed(4)
    assert "no checkpoint can be read" in line


def test_a_run_goes_on_from_another_ones_weights(material, reference, tmp_path):
    arguments = material.pretraining(tmp_path / "child", vocabulary=None, steps=1)
    arguments[1] = str(reference)
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    manifest, parent = load_manifest(tmp_path / "child"), load_manifest(reference)
    assert (tmp_path / "child" / manifest.parent.path).resolve() == reference.resolve()
    assert manifest.data.vocabulary.sha256 == parent.data.vocabulary.sha256
    assert metrics(tmp_path / "child")[1, True]["loss"] < metrics(reference)[1, True]["loss"] - 0.5
    line = command(*arguments, "--vocabulary", material.vocabulary).failed(2)
    assert "--vocabulary" in line


def test_accumulation_and_bfloat16(material, tmp_path):
    first = {}
    for name, options in (("parts", {"accumulation": 4}), ("rough", {"precision": "bfloat16"})):
        ran = command(*material.pretraining(tmp_path / name, steps=3, validate_every=3, **options))
        assert ran.code == 0, ran.err
        manifest = load_manifest(tmp_path / name)
        assert (manifest.accumulation, manifest.precision) == (
            options.get("accumulation", 1),
            options.get("precision", "float32"),
        )
        first[name] = [metrics(tmp_path / name)[step, True]["loss"] for step in (1, 2, 3)]
        assert math.isfinite(manifest.results[3][QUALITY])
    np.testing.assert_allclose(first["parts"], first["rough"], rtol=0.02)


def write(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ({"text": b""}, 4, "bad.txt: no text"),
        ({"text": b"\n \n\n"}, 4, "bad.txt: no text"),
        ({"text": b"good line\nbad \xff line\n"}, 4, "bad.txt:2: not UTF-8 (byte 0xff)"),
        ({"text": b"too little\n" * 60}, 4, "bad.txt, split 'validation': "),
        ({"text": b"too little\n" * 60}, 4, "; --validation-text takes held-out text from files"),
        ({"validation_text": b"too little\n"}, 4, "bad.txt, split 'all': "),
        ({"text": "nowhere.txt"}, 4, "nowhere.txt: no file matches"),
        ({"vocabulary": "nowhere.model"}, 4, "nowhere.model: no such file"),
        ({"vocabulary": b"no model"}, 4, "not a SentencePiece model"),
        ({"vocabulary": "train:0"}, 3, "train:8000"),
        ({"vocabulary": "train:100000"}, 3, "the most that it gives is"),
        ({"dropout": 1.0}, 3, "dropout is 1.0"),
        ({"accumulation": 3}, 3, "a batch of 8 can't be cut into 3 equal parts"),
        ({"steps": 0}, 3, "steps is 0; 1 or more"),
        ({"seed": -1}, 3, "seed is -1"),
        ({"seed": 2**31}, 3, "seed is 2147483648"),
        ({"learning_rate": -1}, 3, "learning_rate is -1.0"),
        ({"keep": 0}, 3, "keep is 0"),
        ({"inputs_length": 2}, 3, "inputs_length 2"),
        ({"validation_examples": 0}, 3, "validation_examples is 0"),
        ({"schedule": "square"}, 2, "square"),
    ],
)
def test_what_cannot_be_is_one_line(material, tmp_path, change, code, message):
    change = {
        key: write(tmp_path / "bad.txt", value) if isinstance(value, bytes) else value for key, value in change.items()
    }
    assert message in command(*material.pretraining(tmp_path / "run", **change)).failed(code)
    assert not (tmp_path / "run" / MANIFEST).exists()


@pytest.mark.parametrize(
    ("line", "message"),
    [("heads: 0", "heads"), ("d_ff: -1", "d_ff"), ("haeds: 2", "heads")],
)
def test_a_shape_that_cannot_be_is_one_line(material, tmp_path, line, message):
    shape = tmp_path / "shape.yaml"
    key = line.partition(":")[0]
    shape.write_text("".join(f"{each}\n" for each in SHAPE.splitlines() if not each.startswith(key)) + line)
    arguments = material.pretraining(tmp_path / "run")
    arguments[1] = str(shape)
    error = command(*arguments).failed(3)
    assert str(shape) in error
    assert message in error


def test_a_file_in_the_directorys_way_is_one_line(material, tmp_path):
    for directory in (tmp_path / "file", tmp_path / "file" / "run"):
        (tmp_path / "file").write_text("in the way")
        assert str(directory) in command(*material.pretraining(directory)).failed(1)


def test_a_full_disk_at_a_checkpoint_keeps_the_ones_before(material, tmp_path, no_training, monkeypatch):
    directory = tmp_path / "run"
    saved = []

    def flush(path):
        saved.append(path)
        if len(saved) > 4:  # the second checkpoint
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(checkpoints, "_flush", flush)
    arguments = material.pretraining(directory, steps=8, checkpoint_every=2, validate_every=100)
    line = command(*arguments).failed(1)
    assert "No space left on device" in line
    assert "00000004" in line
    assert [file.name for file in (directory / "checkpoints").iterdir()] == ["00000002"]
    assert load_manifest(directory).status == "failed"


def test_a_full_disk_at_any_other_file_is_one_line(material, tmp_path, no_training, monkeypatch):
    real = pathlib.Path.open

    def open_file(path, mode="r", *arguments, **options):
        if mode == "a":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(path, mode, *arguments, **options)

    monkeypatch.setattr(pathlib.Path, "open", open_file)
    line = command(*material.pretraining(tmp_path / "metrics")).failed(1)
    assert line == f"{tmp_path / 'metrics' / 'metrics.jsonl'}: cannot be written (No space left on device)"
    monkeypatch.setattr(pathlib.Path, "open", real)

    def fsync(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    line = command(*material.pretraining(tmp_path / "manifest")).failed(1)
    assert "No space left on device" in line
    assert str(tmp_path / "manifest") in line


def test_a_file_in_tensorboards_place_is_one_line(material, tmp_path, no_training):
    (tmp_path / "tensorboard").write_text("in the way")
    line = command(*material.pretraining(tmp_path)).failed(1)
    assert line.startswith(f"{tmp_path / 'tensorboard'}: cannot be written")


def test_a_dry_run_starts_nothing(material, tmp_path):
    arguments = [*material.reference(tmp_path / "run"), "--dry-run", "--format", "json"]
    program = "import sys; from scalecli.cli.main import run; code = run(sys.argv[1:])\n"
    program += "sys.exit(100 if {'tensorflow', 'keras'} & set(sys.modules) else code)"
    ran = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    plan = json.loads(ran.stdout)["tables"]["plan"][0]
    assert (plan["steps"], plan["steps_done"], plan["batch"], plan["validation_examples"]) == (24, 0, 8, 16)
    assert plan["vocabulary"] == f"train:{PIECES}"
    assert plan["training_flops"] == 24 * plan["training_flops_per_step"] > 0
    assert plan["shape"]["d_model"] == 16 and plan["schedule"]["name"] == "inverse-square-root"
    assert not (tmp_path / "run").exists()


def test_a_dry_run_tells_the_steps_done_and_the_parameters_of_the_run(material, reference):
    plan = json.loads(command(*material.reference(reference), "--dry-run", "--format", "json").out)["tables"]["plan"][0]
    assert plan["steps_done"] == 24
    assert plan["parameters"] == load_manifest(reference).parameters.total


def test_other_hosts_are_sent_the_tokens_that_are_trained_on(material, tmp_path, no_training, monkeypatch):
    from scalecli.devices.tensorflow import TensorFlowDevices

    sent = []
    monkeypatch.setattr(TensorFlowDevices, "send", lambda self, files: sent.extend(files))
    cache = tmp_path / "cache"
    assert command(*material.pretraining(tmp_path / "run", steps=1, cache_directory=cache)).code == 0
    (file,) = map(pathlib.Path, sent)
    assert file.parent == cache / "tokens"
    assert len(np.load(file)) == load_manifest(tmp_path / "run").data.tokens


def test_a_run_in_the_folder_at_hand_has_its_name(material, tmp_path, no_training, monkeypatch):
    (tmp_path / "study").mkdir()
    monkeypatch.chdir(tmp_path / "study")
    ran = command(*material.pretraining(".", steps=1))
    assert ran.code == 0, ran.err
    assert load_manifest(tmp_path / "study").name == "study"


def test_a_shape_files_own_rows_are_the_models(material, tmp_path, no_training):
    shape = tmp_path / "shape.yaml"
    arguments = material.pretraining(tmp_path / "run", steps=1)
    arguments[1] = str(shape)
    shape.write_text(SHAPE + "vocabulary: 299\n")
    line = command(*arguments).failed(3)
    assert f"vocabulary: 299, too few for {PIECES + 100} ids" in line
    shape.write_text(SHAPE + "vocabulary: 333\n")
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    assert load_manifest(tmp_path / "run").shape["vocabulary"] == 333
