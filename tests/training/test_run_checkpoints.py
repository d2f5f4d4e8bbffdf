"""Which checkpoint a run goes on from, and what writing beside training can meet."""

import errno
import os
import threading

import pytest

from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.storage import layout
from scalecli.storage.run_storage import RunStorage, open_storage
from scalecli.training.background import Background
from scalecli.training.run_checkpoints import RunCheckpoints
from tests.buckets import emulator, storage_server  # noqa: F401
from tests.manifests import example_manifest
from tests.training.saved import SAVING, Variable, arrays, restored, variables

CACHE = "cache"
OF_ARRAYS, OF_DESCRIPTIONS = ("a bit", "cut short", "gone"), ("gone", "not YAML", "another description")
DAMAGES = [
    *((name, damage) for name in (layout.WEIGHTS, layout.OPTIMIZER) for damage in OF_ARRAYS),
    *((layout.DESCRIPTION, damage) for damage in OF_DESCRIPTIONS),
]


def saved(place, *steps):
    checkpoints = RunCheckpoints(place, SAVING)
    for step in steps:
        checkpoints.save(step, *arrays(step), example_manifest())
        checkpoints.finish()
    return checkpoints


def damaged(content, damage):
    """What is left of a file; None is nothing."""
    if damage == "a bit":
        return content[:-5] + bytes([content[-5] ^ 4]) + content[-4:]
    return {"cut short": content[:-7], "not YAML": b"step: [", "another description": b"steps: 3\n"}.get(damage)


@pytest.mark.parametrize(("name", "damage"), DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, name, damage):
    place = RunStorage(tmp_path)
    saved(place, 3, 4)
    file = tmp_path / f"checkpoints/00000004/{name}"
    content = damaged(file.read_bytes(), damage)
    file.unlink()
    if content is not None:
        file.write_bytes(content)
    messages = []
    assert restored(place, messages) == 3
    (message,) = messages
    assert "checkpoints/00000004" in message and message.endswith("; trying the checkpoint before it")
    assert "\n" not in message


@pytest.mark.parametrize(("name", "damage"), [DAMAGES[0], DAMAGES[2], *DAMAGES[6:8]])
def test_a_damaged_checkpoint_in_a_bucket(emulator, tmp_path, name, damage):  # noqa: F811
    emulator.put("bucket", "elsewhere", b"makes the bucket")
    saved(open_storage("gs://bucket/run", tmp_path / CACHE), 3, 4)
    path = f"run/checkpoints/00000004/{name}"
    content = damaged(emulator.get("bucket", path), damage)
    emulator.remove("bucket", path)
    if content is not None:
        emulator.put("bucket", path, content)
    for cache in (CACHE, "another machine"):  # what is here was whole, but the bucket's word counts
        place = open_storage("gs://bucket/run", tmp_path / cache)
        place.refresh()
        assert restored(place, messages := []) == 3
        # Without a description it is no checkpoint, of which there is nothing to say.
        without = name == layout.DESCRIPTION and damage == "gone"
        assert ["00000004" in message for message in messages] == ([] if without else [True])


def test_all_damaged_is_an_error_and_another_model_is_one_at_once(tmp_path):
    place = RunStorage(tmp_path)
    saved(place, 3, 4)
    weights, state = variables()
    with pytest.raises(ConfigurationError, match="lacks 'other'"):
        RunCheckpoints(place, SAVING).restore({**weights, "other": Variable((2,))}, state, pytest.fail)
    for step in (3, 4):
        (tmp_path / f"checkpoints/{step:08d}/{layout.WEIGHTS}").write_bytes(b"")
    with pytest.raises(MissingError, match="no checkpoint can be read; remove the folder to start anew"):
        restored(place, messages := [])
    assert len(messages) == 2


@pytest.mark.parametrize("asking", ["trust", "finish", "save"])
def test_a_full_disk_is_said_to_whoever_asks_next_and_only_once(tmp_path, monkeypatch, asking):
    checkpoints = saved(RunStorage(tmp_path), 3)

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    checkpoints.save(4, *arrays(4), example_manifest())
    while checkpoints._background.is_busy:
        pass
    monkeypatch.undo()
    ask = {
        "trust": lambda: checkpoints.trust(None),
        "finish": checkpoints.finish,
        "save": lambda: checkpoints.save(5, *arrays(5), example_manifest()),
    }
    with pytest.raises(ScalecliError, match=r"00000004: the checkpoint can't be written .*No space left"):
        ask[asking]()
    assert checkpoints.finish().kept == [3]
    assert [each.name for each in (tmp_path / "checkpoints").iterdir()] == ["00000003"]


class SlowStorage(RunStorage):
    """A bucket that takes what it is given when `gate` is opened."""

    def __init__(self, directory):
        super().__init__(directory)
        self.gate, self.stored = threading.Event(), []

    def store_checkpoint(self, step):
        assert self.gate.wait(10)
        self.stored.append(step)


def test_a_checkpoint_that_is_not_stored_yet_lets_none_be_removed(tmp_path):
    place = SlowStorage(tmp_path)
    place.gate.set()
    checkpoints = saved(place, 1, 2, 3)
    place.gate.clear()
    checkpoints.save(4, *arrays(4), example_manifest())
    assert checkpoints.trust(None) is None
    assert place.stored == [1, 2, 3]
    second = threading.Thread(target=checkpoints.save, args=(5, *arrays(5), example_manifest()))
    second.start()  # it waits for the one before, whose arrays nobody else touches
    second.join(0.05)
    assert second.is_alive()
    place.gate.set()
    second.join(10)
    assert checkpoints.finish().kept == [1, 2, 3, 4, 5]
    assert place.stored == [1, 2, 3, 4, 5]
    assert checkpoints.trust(None).kept == [4, 5]


def test_what_work_beside_raises_is_raised_once():
    background = Background()
    background.wait()
    background.start(lambda: int("none"))
    with pytest.raises(ValueError, match="none"):
        background.wait()
    background.check()
    assert not background.is_busy
