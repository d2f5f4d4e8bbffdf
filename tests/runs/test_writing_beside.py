"""Checkpoints that are still being written when something else happens."""

import errno
import os
import signal
import time

import numpy as np
import pytest

from scalecli.manifest import load_manifest
from scalecli.training import checkpoints
from scalecli.training.checkpoints import checkpoint_steps
from tests.runs.conftest import command


@pytest.fixture
def slow_disk(monkeypatch):
    """Every checkpoint takes much longer than the steps up to the next; how many were there when one was begun."""
    save, there = checkpoints.save_checkpoint, []

    def slow(folder, *arguments):
        there.append(checkpoint_steps(folder))
        time.sleep(0.2)
        return save(folder, *arguments)

    monkeypatch.setattr(checkpoints, "save_checkpoint", slow)
    return there


def test_sigterm_while_one_is_written_saves_both(material, tmp_path, no_training, slow_disk, signalled):
    signalled(signal.SIGTERM, 6)
    line = command(*material.reference(tmp_path / "run")).failed(130)
    assert "interrupted after step 6 of 24, which is saved" in line
    folder = tmp_path / "run/checkpoints"
    assert checkpoint_steps(folder) == load_manifest(tmp_path / "run").checkpoints.kept == [4, 6]
    assert not list(folder.glob(".*"))
    for step in (4, 6):
        checkpoints.load_both(folder / f"{step:08d}")


def test_old_ones_are_removed_even_if_one_is_always_being_written(material, tmp_path, no_training, slow_disk):
    arguments = material.pretraining(tmp_path / "run", steps=12, checkpoint_every=2, keep=1, validate_every=12)
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    assert slow_disk == [[], [2], [4], [6], [8], [10]]


def test_a_loss_that_is_not_finite_is_the_error_even_if_the_disk_is_full(material, tmp_path, slow_disk, monkeypatch):
    from scalecli.training.records import StepMetrics
    from scalecli.training.steps.tensorflow import TensorFlowSteps

    losses = iter([1.0, 1.0, np.nan])

    def run(self, batches, count):
        ones = np.ones(count, "float32")
        return StepMetrics(next(losses) * ones, ones, 0 * ones, {})

    def full(folder, step, *arguments):
        if step == 8:
            time.sleep(0.2)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return saved(folder, step, *arguments)

    saved = checkpoints.save_checkpoint
    monkeypatch.setattr(TensorFlowSteps, "run", run)
    monkeypatch.setattr(checkpoints, "save_checkpoint", full)
    arguments = material.pretraining(tmp_path / "run", steps=12, checkpoint_every=4, validate_every=12)
    monkeypatch.setattr("scalecli.training.loop.MOST_STEPS_PER_CALL", 4)
    line = command(*arguments).failed(5)
    assert "not finite at step" in line
