"""Runs that are killed or stopped go on to the very numbers of one that nothing disturbed."""

import signal
import subprocess
import sys

import numpy as np

from scalecli.manifest import load_manifest
from scalecli.storage import layout
from scalecli.training import checkpoints
from tests.runs.conftest import command, metrics

# Each kills its own process without a chance to clean up, at a moment that a test could not hit from outside.
IN_A_LINE_OF_METRICS = """
from scalecli.training import records
append = records.Records.append
def cut_short(self, rows):
    if rows[-1]["step"] < 7:
        return append(self, rows)
    append(self, rows[:-1])
    with open(self._metrics, "a") as stream:
        stream.write('{"step": 7, "lo')
    os.kill(os.getpid(), signal.SIGKILL)
records.Records.append = cut_short
"""
IN_A_CHECKPOINT = """
from scalecli.storage import layout
from scalecli.training import checkpoints
flush = checkpoints._flush
def killed(path):
    if ".00000012." in str(path) and path.name == layout.OPTIMIZER:
        os.kill(os.getpid(), signal.SIGKILL)
    flush(path)
checkpoints._flush = killed
"""
PROGRAM = "import os, signal, sys\n{}\nfrom scalecli.cli.main import main\nmain(sys.argv[1:])"


def same_as(reference, directory):
    """Every loss, norm and validation figure, and every bit of weights and optimizer."""
    assert metrics(directory) == metrics(reference)
    assert load_manifest(directory).results == load_manifest(reference).results
    for name in (layout.WEIGHTS, layout.OPTIMIZER):
        last = f"checkpoints/{load_manifest(reference).steps:08d}"
        expected, resumed = (checkpoints.load_arrays(run / last, name) for run in (reference, directory))
        assert set(resumed) == set(expected)
        for path in expected:
            np.testing.assert_array_equal(resumed[path], expected[path], err_msg=path)
    return True


def test_a_run_that_is_killed_twice_ends_with_the_same_bits(material, reference, tmp_path):
    arguments = material.reference(tmp_path / "run")
    folder = tmp_path / "run" / "checkpoints"
    for moment, whole in ((IN_A_LINE_OF_METRICS, [4, 6]), (IN_A_CHECKPOINT, [6, 8])):
        ran = subprocess.run(
            [sys.executable, "-c", PROGRAM.format(moment), *arguments], capture_output=True, text=True, timeout=120
        )
        assert ran.returncode == -signal.SIGKILL, ran.stderr
        # Checkpoints are written beside training: the last may have been under way.
        assert checkpoints.checkpoint_steps(folder) in (whole, whole[:1])
        assert load_manifest(tmp_path / "run").status == "running"
    assert list(folder.glob(".*.tmp"))
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    assert "going on from step 8" in ran.err
    assert not list(folder.glob(".*"))
    assert same_as(reference, tmp_path / "run")


def test_a_run_that_is_asked_to_stop_saves_and_goes_on(material, reference, tmp_path, signalled):
    directory = tmp_path / "run"
    arguments = material.reference(directory)
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    # Both are steps where a checkpoint is due, so that a call ends there; at step 8 a validation is due as well.
    for number, step, results in ((signal.SIGTERM, 8, []), (signal.SIGINT, 12, [8])):
        signalled(number, step)
        line = command(*arguments).failed(130)
        assert f"interrupted after step {step} of 24, which is saved" in line
        manifest = load_manifest(directory)
        assert manifest.status == "interrupted"
        assert sorted(manifest.results) == results
        assert checkpoints.checkpoint_steps(directory / "checkpoints")[-1] == step
    assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
    signalled(signal.SIGTERM, 24)  # too late to stop anything
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    assert load_manifest(directory).status == "completed"
    assert same_as(reference, directory)
