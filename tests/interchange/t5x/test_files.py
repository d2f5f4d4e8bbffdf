"""Files that say they are T5X's, and lie."""

import json
import zlib

import msgpack
import numpy as np
import pytest

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.t5x import checkpoint as t5x
from scalecli.interchange.t5x.files import read_tree
from tests.interchange.plain import exported
from tests.interchange.t5x.trees import tree_of, write, write_zarr


def damage(folder, **values):
    file = folder / "target.encoder.encoder_norm.scale/.zarray"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize(
    ("values", "error", "message"),
    [
        ({"shape": [2_500_000_000], "chunks": [2_500_000_000]}, MissingError, "can't hold the 10,000,000,000"),
        ({"chunks": [2_500_000_000]}, MissingError, "can't hold the 10,000,000,000"),
        ({"shape": [2**39], "chunks": [1]}, MissingError, "lacks chunks; .* 549,755,813,888"),
        ({"shape": [45]}, MissingError, "lacks the chunk 2|lacks chunks"),
        ({"shape": [2**70]}, ConfigurationError, "not an array of T5X"),
        ({"shape": [-1]}, ConfigurationError, "not an array of T5X"),
        ({"chunks": [0]}, ConfigurationError, "not an array of T5X"),
        ({"chunks": [20, 20]}, ConfigurationError, "not an array of T5X"),
        ({"dtype": "|O"}, ConfigurationError, "not an array of T5X"),
        ({"compressor": {"id": "blosc"}}, ConfigurationError, "not an array of T5X"),
        ({"compressor": None}, MissingError, "can't hold|damaged"),
        ({"filters": [{"id": "pickle"}]}, ConfigurationError, "not an array of T5X"),
        ({"chunks": [16]}, MissingError, "damaged; it has not the 64 bytes"),
    ],
)
def test_arrays_that_lie(tmp_path, values, error, message):
    tree = {
        "target/encoder/encoder_norm/scale": np.ones(32, np.float32),
        "target/decoder/decoder_norm/scale": np.ones(32, np.float32),
    }
    folder = tmp_path / "checkpoint_1"
    write_zarr(folder, tree)
    damage(folder, **values)
    with pytest.raises(error, match=message) as info:
        for leaf in read_tree(folder / "checkpoint").values():
            np.asarray(leaf)
    assert "\n" not in str(info.value)


def test_chunks_that_are_missing_damaged_or_bombs(tmp_path):
    folder = tmp_path / "checkpoint_1"
    write_zarr(folder, {"target/encoder/encoder_norm/scale": np.ones(32, np.float32)})
    chunk = folder / "target.encoder.encoder_norm.scale/1"
    whole = chunk.read_bytes()
    for content in (whole[:-10], b"x" + whole[1:], zlib.compress(bytes(10**7))):
        chunk.write_bytes(content)
        with pytest.raises(MissingError, match=r"scale/1: (cannot be read|damaged)"):
            np.asarray(read_tree(folder / "checkpoint")["target/encoder/encoder_norm/scale"])
    chunk.unlink()
    with pytest.raises(MissingError, match="lacks"):
        read_tree(folder / "checkpoint")


@pytest.mark.parametrize("path", ["../../etc", "/etc", "..", "", "a/b", 5, None, "target.x\0"])
def test_directions_that_lead_elsewhere(tmp_path, path):
    spec = {"driver": "zarr", "kvstore": {"driver": "http", "base_url": "http://localhost", "path": path}}
    (tmp_path / "checkpoint").write_bytes(msgpack.packb({"optimizer": {"target": {"a": spec}}}))
    with pytest.raises(MissingError, match=r"target/a is in .*; only plain names of folders beside the file"):
        read_tree(tmp_path / "checkpoint")


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", MissingError, "damaged"),
        (b"\x80\x04\x95", MissingError, "damaged"),
        (b"\xdf\xff\xff\xff\xff", MissingError, "damaged"),  # a mapping of four billion keys
        (b"\xdd\x7f\xff\xff\xff", MissingError, "damaged"),  # a list of two billion
        (b"\x91" * 100_000 + b"\x90", MissingError, "damaged"),  # lists in lists
        (msgpack.packb({"a": 1}), ConfigurationError, "it has no 'optimizer'"),
        (msgpack.packb({"optimizer": {"target": {"a": "PLACEHOLDER://a"}}}), ConfigurationError, "target/a is neither"),
        (msgpack.packb({"optimizer": {"target": {"a": msgpack.ExtType(9, b"x")}}}), MissingError, "unknown form"),
        *(
            (msgpack.packb({"optimizer": {"a": msgpack.ExtType(1, msgpack.packb(array))}}), MissingError, message)
            for array, message in (
                (([100_000, 25_000], "float32", b"1234"), "4 bytes for float32"),
                (([1], "object", b"12345678"), "unknown form"),
                (([-1], "float32", b"1234"), "unknown form"),
                (([1], "float32"), "unknown form"),
            )
        ),
    ],
)
def test_files_that_lie(tmp_path, content, error, message):
    (tmp_path / "checkpoint_1").write_bytes(content)
    with pytest.raises(error, match=f"checkpoint_1: .*{message}") as info:
        t5x.read(tmp_path, step=None, optimizer=False)
    assert "\n" not in str(info.value)


def test_a_truncated_file(tmp_path):
    file = write(tmp_path / "checkpoint_1", tree_of(exported("glu", tied=False)))
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(MissingError, match="checkpoint_1: not a checkpoint of T5X, or a damaged one"):
        t5x.read(tmp_path, step=None, optimizer=False)
