"""Kill -9 at any moment: what counts as a checkpoint is whole and of its step, on the disk and in a bucket."""

import random
import subprocess
import sys

import pytest

from scalecli.storage import layout
from scalecli.storage.run_storage import open_storage
from scalecli.training import checkpoints
from tests.buckets import emulator, storage_server  # noqa: F401
from tests.training.saved import restored


class Victim:
    """The process in which runs are killed."""

    def __init__(self, address, cache):
        arguments = [sys.executable, "-m", "tests.training.saved", str(address), str(cache)]
        self.process = subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def kill_after(self, checkpoints):
        self.process.stdin.write(f"{checkpoints}\n")
        self.process.stdin.flush()
        assert self.process.stdout.readline() == "killed\n"


@pytest.fixture
def victim_of(tmp_path):
    started = []

    def start(address):
        started.append(Victim(address, tmp_path / "cache"))
        return started[-1]

    yield start
    for each in started:
        each.process.communicate(timeout=60)


def test_on_the_disk(tmp_path, victim_of):
    """A life is long enough for a few checkpoints, and ends in the midst of one or of a removal."""
    victim, draw, steps, leftovers = victim_of(tmp_path / "run"), random.Random(0), [0], 0
    folder = tmp_path / "run/checkpoints"
    for _ in range(40):
        victim.kill_after(draw.uniform(0, 3))
        leftovers += len(list(folder.glob(".*")))
        steps.append(restored(open_storage(tmp_path / "run", tmp_path), messages := []))
        assert not messages
        for step in checkpoints.checkpoint_steps(folder):  # not the newest alone: none is half of one
            checkpoints.load_both(folder / f"{step:08d}")
    assert steps == sorted(steps)
    assert steps[-1] > 10 and leftovers, (steps, leftovers)  # it was hit while it wrote


def test_in_a_bucket(emulator, tmp_path, victim_of):  # noqa: F811
    emulator.put("bucket", "elsewhere", b"makes the bucket")
    victim, draw, steps = victim_of("gs://bucket/a/run"), random.Random(0), [0]

    def whole():
        names = [name for name in emulator.names("bucket") if "/checkpoints/" in name]
        return sorted(int(name.split("/")[-2]) for name in names if name.endswith(layout.DESCRIPTION))

    for life in range(8):
        victim.kill_after(draw.uniform(0, 3))
        before = whole()
        place = open_storage("gs://bucket/a/run", tmp_path / f"another machine {life}")
        place.refresh()
        found = checkpoints.checkpoint_steps(place.directory / "checkpoints")
        assert found in (before, whole())  # the bucket may still be carrying out the last request
        steps.append(restored(place, messages := []))
        assert not messages and (not found or steps[-1] == found[-1])
    assert steps == sorted(steps)
    assert steps[-1] > 3, steps
