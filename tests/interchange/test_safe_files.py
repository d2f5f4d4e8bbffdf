import json
import struct

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.safe_files import (
    WEIGHT_FILES,
    plain_name,
    read_json,
    read_safetensors,
    read_weights,
)

NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)


# safetensors


@pytest.mark.parametrize("dtype", [np.float32, np.float16, ml_dtypes.bfloat16, np.int64])
def test_safetensors_keep_their_dtype(tmp_path, dtype):
    save_file({"a": NUMBERS.astype(dtype)}, tmp_path / "a.safetensors")
    array = read_safetensors(tmp_path / "a.safetensors")["a"]
    assert array.dtype == dtype
    np.testing.assert_array_equal(array, NUMBERS.astype(dtype))


def tensor(shape, start, end, dtype="F32"):
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, end]}


@pytest.mark.parametrize(
    ("header", "length"),
    [
        ({"a": tensor([100_000, 25_000], 0, 10_000_000_000)}, None),  # 10 GB in a file of 1 kB
        ({"a": tensor([256], 0, 512)}, None),  # a shape that its bytes can't hold
        ({"a": tensor([200], 0, 800), "b": tensor([200], 200, 1000)}, None),  # overlapping
        ({"a": tensor([4], 0, 16)}, None),  # bytes that belong to nothing
        ({"a": tensor([-4], 0, 1000)}, None),
        ({"a": tensor([250], 0, 1000, "F31")}, None),
        ({"a": tensor([250], 0, 1000, "F8_E4M3")}, None),  # not a dtype of NumPy
        ({"a": tensor([250], 0, 1000)}, 2**62),  # a header longer than the file
        ({"a": tensor([250], 0, 1000)}, 3),  # a header cut short
        ([], None),
        ({}, None),
    ],
)
def test_safetensors_with_a_header_that_lies(tmp_path, header, length):
    text = json.dumps(header).encode()
    path = tmp_path / "model.safetensors"
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + bytes(1000))
    with pytest.raises(MissingError, match=r"model\.safetensors: not a safetensors file, or a damaged one") as info:
        read_safetensors(path)
    assert "\n" not in str(info.value)


def test_safetensors_truncated_or_not_there(tmp_path):
    path = tmp_path / "a.safetensors"
    with pytest.raises(MissingError, match="no such file"):
        read_safetensors(path)
    save_file({"a": NUMBERS}, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(MissingError, match="damaged"):
        read_safetensors(path)


# Sharded weights


def write_shards(folder, weight_map, shards):
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))
    for name, arrays in shards.items():
        save_file(arrays, folder / name)


def test_shards_are_joined(tmp_path):
    write_shards(tmp_path, {"a": "1.safetensors", "b": "2.safetensors"}, {
        "1.safetensors": {"a": NUMBERS}, "2.safetensors": {"b": NUMBERS + 1},
    })  # fmt: skip
    arrays, files = read_weights(tmp_path)
    np.testing.assert_array_equal(arrays["b"], NUMBERS + 1)
    assert set(arrays) == {"a", "b"}
    assert [file.name for file in files] == ["model.safetensors.index.json", "1.safetensors", "2.safetensors"]


def test_one_file_goes_before_an_index_and_safetensors_before_pickles(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"never opened")
    write_shards(tmp_path, {"a": "../../etc/passwd"}, {})
    save_file({"a": NUMBERS}, tmp_path / "model.safetensors")
    arrays, files = read_weights(tmp_path)
    assert set(arrays) == {"a"} and files == (tmp_path / "model.safetensors",)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "../../etc/passwd"}, r"names the file '\.\./\.\./etc/passwd'; only plain names"),
        ({"a": "/etc/passwd"}, "only plain names"),
        ({"a": ".."}, "only plain names"),
        ({"a": "..\\x"}, "only plain names"),
        ({"a": ""}, "only plain names"),
        ({"a": 5}, "only plain names"),
        ({"a": "2.safetensors"}, r"2\.safetensors: no such file, and model\.safetensors\.index\.json names it"),
        ({"b": "1.safetensors"}, r"1\.safetensors: has 'a', unlike what"),
        ({"a": "1.safetensors", "b": "1.safetensors"}, r"1\.safetensors: lacks 'b', unlike what"),
    ],
)
def test_an_index_that_does_not_fit(tmp_path, weight_map, message):
    write_shards(tmp_path, weight_map, {"1.safetensors": {"a": NUMBERS}})
    with pytest.raises(MissingError, match=message):
        read_weights(tmp_path)


def test_no_weights_and_a_link_out_of_the_folder(tmp_path):
    with pytest.raises(MissingError, match=f"has no weights; one of {WEIGHT_FILES[0]}"):
        read_weights(tmp_path)
    (tmp_path / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ConfigurationError, match="lacks weight_map"):
        read_weights(tmp_path)
    with pytest.raises(MissingError, match="only plain names"):
        plain_name("a/b", tmp_path, tmp_path / "index.json")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "holds no JSON mapping"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": "\xff"}', "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b'{"a": 1, "a": 2}', "has 'a' twice"),
    ],
)
def test_json_that_is_not_valid(tmp_path, content, message):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(ConfigurationError, match=rf"config\.json: {message}"):
        read_json(tmp_path / "config.json")
