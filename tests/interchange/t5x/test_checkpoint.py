"""T5X's checkpoints: a real one, and others written as T5X does."""

import os
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from scalecli.architectures import build_spec
from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.t5x import checkpoint as t5x
from scalecli.interchange.t5x.files import read_tree
from tests.interchange.plain import FORMS, batch, exported, model_of
from tests.interchange.t5x.trees import forward, tree_of, write, write_zarr


def assert_same_logits(imported, tree):
    data = batch()
    logits = np.asarray(model_of(build_spec(imported.architecture, imported.shape), imported.weights)(data))
    there = data["targets"] != 0
    np.testing.assert_allclose(logits[there], forward(tree, **data)[there], atol=1e-4)


@pytest.mark.parametrize(("architecture", "tied"), FORMS)
@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
def test_one_file(tmp_path, architecture, tied, dtype):
    model = exported(architecture, tied)
    tree = tree_of(model, dtype)
    write(tmp_path / "t5.checkpoint_7", tree)
    (tmp_path / "spiece.model").write_bytes(b"pieces")
    assert t5x.recognizes(tmp_path) and t5x.recognizes(tmp_path / "t5.checkpoint_7")
    imported = t5x.read(tmp_path, step=None, optimizer=False)
    assert (imported.architecture, imported.shape, imported.step) == (architecture, model.shape, 7)
    assert imported.precision == np.dtype(dtype).name and imported.optimizer is None
    assert imported.vocabulary == tmp_path / "spiece.model"
    assert [file.name for file in imported.files] == ["t5.checkpoint_7", "spiece.model"]
    assert bool(imported.notes) == (architecture == "glu")
    for path, weight in imported.weights.items():
        np.testing.assert_array_equal(weight, model.weights[path].astype(dtype).astype(np.float32))
    if dtype is np.float32:
        assert_same_logits(imported, tree)


def test_a_real_checkpoint():
    if not (data := os.environ.get("SCALECLI_TEST_DATA")):
        pytest.skip("SCALECLI_TEST_DATA names no folder of real data")
    file = Path(data) / "checkpoints/t5x_test_t5_tiny/test_t5_tiny.checkpoint_0"
    imported = t5x.read(file, step=None, optimizer=True)
    assert imported.architecture == "glu" and imported.step == 0 and imported.precision == "float32"
    spec = build_spec("glu", imported.shape)
    assert spec.parameters() == 518_240 and (imported.shape.heads, imported.shape.d_kv) == (4, 3)
    assert imported.optimizer["decoder/0/feed_forward/gate/full"].shape == (2, 8, 16)
    assert imported.optimizer["iterations"] == 0
    leaves = read_tree(file)
    assert_same_logits(imported, {path: np.asarray(leaf) for path, leaf in leaves.items()})


def test_a_checkpoint_without_a_layer_is_refused(tmp_path):
    tree = tree_of(exported("glu", tied=False))
    for change, message in (
        (
            {"target/encoder/layers_0/attention/query/kernel": None},
            "lacks target/encoder/layers_0/attention/query/kernel",
        ),
        ({"target/decoder/layers_2/mlp/wo/kernel": None}, "lacks 'decoder/layers_2/mlp/wo/kernel'"),
        ({"target/decoder/more/kernel": np.zeros(3, np.float32)}, "has 'decoder/more/kernel', which this model hasn't"),
        ({"target/encoder/layers_1/mlp/wo/kernel": np.zeros((3, 4), np.float32)}, r"is \[3, 4\], the model\'s is \["),
        ({"target/encoder/layers_0/attention/query/kernel": np.zeros((32, 3, 8), np.float32)}, "a matrix is accepted"),
        ({"target/encoder/layers_0/attention/query/kernel": np.zeros((32, 25), np.float32)}, "3 heads .* of 25"),
        ({"target/encoder/encoder_norm/scale": np.zeros(32, np.int32)}, "is int32; float32, bfloat16, float16"),
        ({"target/token_embedder/embedding": np.zeros((0, 32), np.float32)}, "vocabulary is 0"),
    ):
        arrays = {path: array for path, array in {**tree, **change}.items() if array is not None}
        write(tmp_path / "checkpoint_1", arrays)
        with pytest.raises((ConfigurationError, MissingError), match=f"checkpoint_1: .*{message}"):
            t5x.read(tmp_path, step=None, optimizer=False)


def test_sizes_are_checked_before_room_is_made(tmp_path):
    """Arrays of one row that tell of a matrix of a million by a million."""
    tree = tree_of(exported("glu", tied=False))
    for name in ("target/token_embedder/embedding", "target/encoder/layers_0/mlp/wi_1/kernel"):
        tree[name] = np.zeros((1, 2**20), np.float16)
    write(tmp_path / "checkpoint_1", tree)
    with pytest.raises(ConfigurationError, match="the model's is"):
        t5x.read(tmp_path, step=None, optimizer=False)


# Steps


def test_steps(tmp_path):
    tree = tree_of(exported("transformer", tied=True))
    for step in (9, 10):
        write(tmp_path / f"checkpoint_{step}", tree)
    write(tmp_path / "checkpoint_8/checkpoint", tree)
    (tmp_path / "checkpoint_11.tmp-123").write_bytes(b"of a save that was cut short")
    assert t5x.read(tmp_path, step=None, optimizer=False).step == 10
    assert t5x.read(tmp_path, step=8, optimizer=False).files[0].name == "checkpoint_8/checkpoint"
    assert t5x.read(tmp_path / "checkpoint_8", step=None, optimizer=False).files[0].name == "checkpoint"
    with pytest.raises(MissingError, match=r"has no checkpoint of step 11; there are 8, 9, 10"):
        t5x.read(tmp_path, step=11, optimizer=False)


def test_what_is_wanted_of_a_bucket():
    arrays = ["checkpoint", "target.a/.zarray", "target.a/0.0", "state.a/0"]
    names = [f"checkpoint_{step}/{name}" for step in (5, 10) for name in [*arrays, "train_ds-000-of-001.index"]]
    names += ["model-info.txt", "spiece.model"]
    assert t5x.select_files(names, None) == [*(f"checkpoint_10/{name}" for name in arrays), "spiece.model"]
    assert t5x.select_files(names, 5) == [*(f"checkpoint_5/{name}" for name in arrays), "spiece.model"]
    assert t5x.select_files([*arrays, "train_ds-000"], None) == arrays
    assert t5x.select_files(["checkpoint", "model.ckpt-1.index"], None) == []
    with pytest.raises(MissingError, match="no checkpoint of step 6; there are 5, 10"):
        t5x.select_files(names, 6)


@pytest.mark.parametrize("dtype", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("driver", ["file", "gcs"])
def test_arrays_beside_the_tree(tmp_path, dtype, driver):
    model = exported("glu", tied=False)
    write_zarr(tmp_path / "checkpoint_1000", tree_of(model, dtype), driver)
    imported = t5x.read(tmp_path, step=None, optimizer=False)
    assert imported.step == 1000 and imported.shape == model.shape and imported.precision == np.dtype(dtype).name
    for path, weight in imported.weights.items():
        np.testing.assert_array_equal(weight, model.weights[path].astype(dtype).astype(np.float32))
    names = {file.name for file in imported.files}
    on_disk = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert names == on_disk and len(names) > 2 * len(model.spec.weights())
