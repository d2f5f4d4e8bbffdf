"""Two real processes in one run's directory: the second is told who holds it, and the records stay whole."""

import signal
import subprocess
import sys
import time

import pytest

from scalecli.storage.holding import RECORD
from tests.runs.conftest import command, metrics


@pytest.fixture
def other(place, tmp_path):
    """A process that pretrains, and has saved a checkpoint."""
    words = [str(word) for word in place.pretraining(tmp_path / "run", steps=1_000_000, checkpoint_every=20)]
    with subprocess.Popen([sys.executable, "-m", "scalecli", *words], stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 120
        while not list((tmp_path / "run/checkpoints").glob("[0-9]*")):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield process
        process.kill()


def test_the_second_process_says_who_is_at_work_and_touches_nothing(other, place, tmp_path):
    directory = tmp_path / "run"
    ran = command(*place.pretraining(directory, steps=1_000_000, checkpoint_every=20))
    assert f"process {other.pid} on " in ran.failed(1)
    assert "is at work on it" in ran.err
    ran = command("eval", directory, "--text", place.text, "--run", directory, "--cache-directory", tmp_path)
    assert f"process {other.pid} on " in ran.failed(1)

    other.send_signal(signal.SIGKILL)
    other.wait()
    done = max(step for step, _ in metrics(directory))  # which looks that no step stands there twice
    ran = command(*place.pretraining(directory, steps=done + 1, checkpoint_every=20))
    assert "holds a run of 1000000 steps" in ran.failed(3)  # it was given the run, whose holder is dead
    assert not (directory / RECORD).exists()
