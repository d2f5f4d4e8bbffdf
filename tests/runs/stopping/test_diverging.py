"""Runs whose loss or validation is not finite, and which checkpoints stay."""

import json
import math

import numpy as np
import pytest

from scalecli.manifest import load_manifest
from scalecli.training import checkpoints
from tests.runs.conftest import command, metrics
from tests.runs.text.test_pretraining import QUALITY, copied


def test_a_loss_that_is_not_finite_ends_the_run(material, tmp_path):
    ran = command(*material.pretraining(tmp_path / "run", learning_rate=1e30, checkpoint_every=1, validate_every=24))
    line = ran.failed(5)
    assert "not finite at step 2;" in line
    # The weights of step 1 are what gave the loss of step 2.
    assert line.endswith("no good checkpoint yet")
    assert load_manifest(tmp_path / "run").status == "failed"


def test_the_last_good_checkpoint_is_named_and_kept(material, reference, tmp_path, no_training):
    directory = copied(reference, tmp_path)
    no_training[0] = float("nan")
    line = command(*material.reference(directory, steps=28)).failed(5)
    assert "not finite at step 25; the last good checkpoint is" in line
    assert line.endswith("00000020")
    assert checkpoints.checkpoint_steps(directory / "checkpoints") == [6, 20, 24]
    assert load_manifest(directory).status == "failed"


def test_a_validation_that_is_not_finite_ends_the_run(material, tmp_path, no_training, monkeypatch):
    from scalecli.evaluation.cross_entropy import CrossEntropy

    monkeypatch.setattr(CrossEntropy, "__call__", lambda self, batches: math.nan)
    arguments = material.pretraining(tmp_path / "run", steps=4, validate_every=4, checkpoint_every=2, keep=1)
    line = command(*arguments).failed(5)
    assert "a validation is not finite after step 4" in line
    assert line.endswith("00000002")
    assert load_manifest(tmp_path / "run").results == {}
    # The checkpoint is saved first: a validation that fails, or is interrupted, costs no steps.
    folder = tmp_path / "run/checkpoints"
    assert checkpoints.checkpoint_steps(folder) == [2, 4]
    monkeypatch.setattr(CrossEntropy, "__call__", lambda self, batches: 1.0)
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    assert "going on from step 4" in ran.err
    assert load_manifest(tmp_path / "run").results[4][QUALITY] == -1.0
    assert checkpoints.checkpoint_steps(folder) == load_manifest(tmp_path / "run").checkpoints.kept == [4]


@pytest.mark.parametrize(("bad", "good"), [(9, 4), (11, 8)])
def test_the_last_good_checkpoint_stays_until_a_newer_one_has_given_a_loss(material, tmp_path, monkeypatch, bad, good):
    from scalecli.training.records import StepMetrics
    from scalecli.training.steps.tensorflow import TensorFlowSteps

    done = 0

    def run(self, batches, count):
        nonlocal done
        steps = np.arange(done + 1, done + count + 1)
        done += count
        losses = np.where(steps < bad, 1.0, np.nan).astype("float32")
        return StepMetrics(losses, np.ones(count, "float32"), np.zeros(count, "float32"), {})

    monkeypatch.setattr(TensorFlowSteps, "run", run)
    arguments = material.pretraining(tmp_path / "run", steps=12, checkpoint_every=4, keep=1, validate_every=100)
    line = command(*arguments).failed(5)
    assert f"not finite at step {bad};" in line
    assert line.endswith(f"{good:08d}")
    assert checkpoints.checkpoint_steps(tmp_path / "run/checkpoints") == [4, 8]
    # Steps 9 and 10 are computed in one call with the bad one, and are losses all the same.
    assert list(metrics(tmp_path / "run")) == [(step, True) for step in range(1, bad)]


def test_the_best_checkpoint_stays_and_is_shown_beside_the_last(material, tmp_path, no_training, monkeypatch):
    from scalecli.evaluation.cross_entropy import CrossEntropy

    losses = iter([3.0, 1.0, 2.0, 4.0])
    monkeypatch.setattr(CrossEntropy, "__call__", lambda self, batches: next(losses))
    directory = tmp_path / "run"
    arguments = material.pretraining(directory, steps=16, validate_every=4, checkpoint_every=4, keep=1)
    ran = command(*arguments, "--format", "json")
    assert ran.code == 0, ran.err
    assert checkpoints.checkpoint_steps(directory / "checkpoints") == [8, 16]
    manifest = load_manifest(directory)
    assert (manifest.best.step, manifest.checkpoints.kept) == (8, [8, 16])
    shown = json.loads(ran.out)["tables"]["run"][0]
    assert (shown["step"], shown[QUALITY], shown["best_step"], shown[f"best/{QUALITY}"]) == (16, -4.0, 8, -1.0)
