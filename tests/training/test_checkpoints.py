"""Checkpoints on the disk: whole or not there, exact, and checked before anything is assigned."""

import errno
import os

import keras
import numpy as np
import pytest

from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.storage import layout
from scalecli.storage.layout import OPTIMIZER, WEIGHTS
from scalecli.training import checkpoints
from scalecli.training.checkpoints import Saving

SHAPE = {"encoder_layers": 2, "d_model": 3}


def variables(seed=0):
    """Weights and an optimizer's state by path: matrices, and the step, which has no axes."""
    random = np.random.default_rng(seed)
    weights = {
        name: keras.Variable(random.normal(size=shape).astype("float32"))
        for name, shape in (("embedding/table", (5, 3)), ("encoder/norm/scale", (2, 3)))
    }
    # Numbers that text or a lower precision would not keep.
    weights["encoder/norm/scale"].assign(np.array([[np.pi, 1e-40, -0.0], [3.4e38, 1 / 3, 1e-7]], "float32"))
    state = {
        "iterations": keras.Variable(seed, dtype="int32"),
        "embedding/table/rows": keras.Variable(random.normal(size=5).astype("float32")),
    }
    return weights, state


def arrays(variables):
    return {path: np.array(variable) for path, variable in variables.items()}


def save(folder, step, seed=0):
    return checkpoints.save_checkpoint(folder, step, *map(arrays, variables(seed)), "transformer", SHAPE)


def test_every_bit_comes_back(tmp_path):
    weights, state = variables(7)
    saved = checkpoints.save_checkpoint(tmp_path, 7, arrays(weights), arrays(state), "transformer", SHAPE)
    assert saved == tmp_path / "00000007"
    description = checkpoints.read_description(saved)
    assert (description.step, description.architecture, description.shape) == (7, "transformer", SHAPE)
    for name, written, other in ((WEIGHTS, weights, variables(8)[0]), (OPTIMIZER, state, variables(8)[1])):
        checkpoints.assign(other, checkpoints.load_arrays(saved, name), str(saved))
        for path, variable in written.items():
            assert np.asarray(other[path]).tobytes() == np.asarray(variable).tobytes(), path
            assert other[path].shape == variable.shape


def test_a_step_that_is_saved_again_replaces_the_old_one(tmp_path):
    save(tmp_path, 4, seed=0)
    saved = save(tmp_path, 4, seed=1)
    assert checkpoints.load_arrays(saved, OPTIMIZER)["iterations"] == 1
    assert checkpoints.checkpoint_steps(tmp_path) == [4]


def test_the_last_ones_and_the_named_stay(tmp_path):
    for step in (10, 20, 30, 40):
        save(tmp_path, step)
    assert checkpoints.remove_old_checkpoints(tmp_path, 40, keep=2, others=(10, 15)) == [10, 30, 40]
    assert checkpoints.checkpoint_steps(tmp_path) == [10, 30, 40]


def test_checkpoints_after_the_newest_good_one_do_not_push_it_out(tmp_path):
    for step in (10, 20, 30):
        save(tmp_path, step)
    assert checkpoints.remove_old_checkpoints(tmp_path, 20, keep=1) == [20]
    assert checkpoints.checkpoint_steps(tmp_path) == [20, 30]


def test_what_a_killed_write_left_is_no_checkpoint_and_is_removed(tmp_path):
    save(tmp_path, 10)
    leftover = tmp_path / ".00000020.0123abcd.tmp"
    leftover.mkdir()
    (leftover / WEIGHTS).write_bytes(b"half")
    assert checkpoints.checkpoint_steps(tmp_path) == [10]
    assert checkpoints.remove_old_checkpoints(tmp_path, 10, keep=2) == [10]
    assert [each.name for each in tmp_path.iterdir()] == ["00000010"]


@pytest.mark.parametrize("damage", ["a bit", "cut short", "gone", "not described"])
def test_a_damaged_file_is_missing(tmp_path, damage):
    saved = save(tmp_path, 10)
    file = saved / WEIGHTS
    content = bytearray(file.read_bytes())
    if damage == "a bit":
        content[-1] ^= 1
        file.write_bytes(content)
    elif damage == "cut short":
        file.write_bytes(content[:-4])
    elif damage == "gone":
        file.unlink()
    else:
        (saved / layout.DESCRIPTION).unlink()
    with pytest.raises(MissingError, match=r"00000010") as caught:
        checkpoints.load_arrays(saved, WEIGHTS)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"embedding/table": (5, 4)}, r"source: 'embedding/table' is \[5, 4\], the model's is \[5, 3\]"),
        ({"embedding/table": None}, "source: lacks 'embedding/table'"),
        ({"logits/kernel": (3, 5)}, "source: has 'logits/kernel'"),
    ],
)
def test_arrays_of_another_model_are_refused_and_none_is_assigned(change, message):
    weights, _ = variables(0)
    before = {path: np.asarray(variable).copy() for path, variable in weights.items()}
    arrays = {path: np.ones(variable.shape, "float32") for path, variable in weights.items()}
    for path, shape in change.items():
        arrays.pop(path, None)
        if shape:
            arrays[path] = np.ones(shape, "float32")
    with pytest.raises(ConfigurationError, match=message):
        checkpoints.assign(weights, arrays, "source")
    for path, variable in weights.items():
        np.testing.assert_array_equal(np.asarray(variable), before[path])


@pytest.mark.parametrize("failing", range(1, 6))
def test_a_full_disk_leaves_the_old_checkpoints_and_no_half_one(tmp_path, monkeypatch, failing):
    """The disk is full at the first, second ... file that has to reach it."""
    save(tmp_path, 10)
    calls = 0
    real = os.fsync

    def fsync(descriptor):
        nonlocal calls
        calls += 1
        if calls == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(ScalecliError, match="No space left on device") as caught:
        save(tmp_path, 20)
    assert calls == failing
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    # The last file to flush is the folder itself, when the checkpoint is already whole.
    assert checkpoints.checkpoint_steps(tmp_path) == ([10, 20] if failing == 5 else [10])
    assert not list(tmp_path.glob(".*"))
    for step in checkpoints.checkpoint_steps(tmp_path):
        for name in (WEIGHTS, OPTIMIZER):
            checkpoints.load_arrays(tmp_path / f"{step:08d}", name)


def test_a_file_in_the_folders_place_is_one_clear_line(tmp_path):
    (tmp_path / "checkpoints").write_text("in the way")
    with pytest.raises(ScalecliError, match="can't be written") as caught:
        save(tmp_path / "checkpoints", 10)
    assert caught.value.exit_code == 1


def test_intervals_that_cannot_be_are_refused():
    for values in ({"validate_every": 0}, {"checkpoint_every": -1}, {"keep": 0}):
        with pytest.raises(ConfigurationError, match=next(iter(values))):
            Saving(**{"validate_every": 1, "checkpoint_every": 1, "keep": 1, **values})


def test_a_folder_that_holds_another_step_is_damaged(tmp_path):
    os.rename(save(tmp_path, 8), tmp_path / "00000050")
    with pytest.raises(MissingError, match=r"00000050/checkpoint\.yaml: of step 8, in another step's folder"):
        checkpoints.load_both(tmp_path / "00000050")


def test_only_names_of_steps_are_steps(tmp_path):
    for name in ("00000008", "123456789", "8", "٣", "0000000008", "x"):
        (tmp_path / name).mkdir()
    assert checkpoints.checkpoint_steps(tmp_path) == [8, 123456789]
