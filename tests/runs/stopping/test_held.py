"""Two real processes on one run, in a directory or a bucket: the second is told who holds it; records stay whole."""

import signal
import subprocess
import sys
import time

import pytest

from scalecli.storage.run_storage import open_storage
from scalecli.training.checkpoints import checkpoint_steps
from tests.buckets import emulator, storage_server  # noqa: F401
from tests.runs.conftest import command, metrics


@pytest.fixture(params=["folder", "bucket"])
def run(request, tmp_path):
    """Where the run is."""
    if request.param == "folder":
        return str(tmp_path / "run")
    request.getfixturevalue("emulator").put("bucket", "elsewhere", b"makes the bucket")
    return "gs://bucket/runs/a"


def stored(run, tmp_path):
    """What another machine gets of the run."""
    storage = open_storage(run, tmp_path / "another machine")
    storage.refresh()
    return storage


@pytest.fixture
def other(material, tmp_path, run):
    """A process that pretrains, and has saved a checkpoint."""
    words = [str(word) for word in material.pretraining(run, steps=1_000_000, checkpoint_every=20)]
    with subprocess.Popen([sys.executable, "-m", "scalecli", *words], stderr=subprocess.PIPE, text=True) as process:
        end = time.monotonic() + 600
        while not checkpoint_steps(stored(run, tmp_path).directory / "checkpoints"):
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < end
            time.sleep(0.1)
        yield process
        process.kill()


def test_the_second_process_says_who_is_at_work_and_touches_nothing(other, material, tmp_path, run):
    cache = tmp_path / "second"
    ran = command(*material.pretraining(run, steps=1_000_000, checkpoint_every=20, cache_directory=cache))
    assert ran.failed(1).startswith(f"{run}: process {other.pid} on ")
    assert "is at work on it" in ran.err
    ran = command("eval", run, "--text", material.text, "--run", run, "--cache-directory", cache)
    assert f"process {other.pid} on " in ran.failed(1)

    other.send_signal(signal.SIGKILL)
    other.wait()
    # `metrics` looks that no step stands there twice.
    done = max(step for step, _ in metrics(stored(run, tmp_path).directory))
    ran = command(*material.pretraining(run, steps=done + 1, checkpoint_every=20, cache_directory=cache))
    assert "holds a run of 1000000 steps" in ran.failed(3)  # it was given the run, whose holder is dead
    assert stored(run, tmp_path).holder_record().read() == b""
