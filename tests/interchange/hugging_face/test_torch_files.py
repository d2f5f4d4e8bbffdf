"""PyTorch's files, made without it: what `torch.save` writes, with other names in it where a test wants them."""

import io
import pickle
import zipfile
from collections import OrderedDict

import ml_dtypes
import numpy as np
import pytest

from scalecli.errors import MissingError
from scalecli.interchange.hugging_face.torch_files import read_torch
from scalecli.interchange.safe_files import read_weights

NUMBERS = np.arange(6, dtype=np.float32).reshape(2, 3)


class Named:
    """Pickled as a call of a function that is only named."""

    def __init__(self, module, name, arguments):
        self.call = (module, name, arguments)


class Pickler(pickle._Pickler):
    """Writes names of things that need not be there, and storages as `torch.save` does."""

    def persistent_id(self, value):
        if isinstance(value, Storage):
            return ("storage", Global("torch", value.kind), value.key, "cpu", value.numbers)
        return None

    def save(self, value, *arguments, **options):
        if isinstance(value, Global):
            self.write(pickle.GLOBAL + f"{value.module}\n{value.name}\n".encode())
        elif isinstance(value, Named):
            module, name, inner = value.call
            self.save(Global(module, name))
            self.save(inner)
            self.write(pickle.REDUCE)
        else:
            super().save(value, *arguments, **options)


class Global:
    def __init__(self, module, name):
        self.module, self.name = module, name


class Storage:
    def __init__(self, key, numbers, kind="FloatStorage"):
        self.key, self.numbers, self.kind = key, numbers, kind


def view(storage, shape, strides, offset=0):
    return Named("torch._utils", "_rebuild_tensor_v2", (storage, offset, shape, strides, False, OrderedDict()))


def write_torch(path, tensors, storages, compression=zipfile.ZIP_STORED, protocol=2, **extra):
    stream = io.BytesIO()
    if isinstance(tensors, bytes):
        stream.write(tensors)
    else:
        Pickler(stream, protocol).dump(tensors)
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", stream.getvalue())
        archive.writestr("archive/byteorder", extra.get("byteorder", "little"))
        for key, array in storages.items():
            archive.writestr(f"archive/data/{key}", array.tobytes())


def test_pytorch_tensors_share_storages_and_have_strides(tmp_path):
    path = tmp_path / "pytorch_model.bin"
    storage = Storage("0", 6)
    halves, brains = Storage("1", 6, "HalfStorage"), Storage("2", 6, "BFloat16Storage")
    parameter = Named("torch._utils", "_rebuild_parameter", (view(storage, (3,), (1,), 3), True, OrderedDict()))
    write_torch(
        path,
        {
            "whole": view(storage, (2, 3), (3, 1)),
            "transposed": view(storage, (3, 2), (1, 3)),
            "row": parameter,
            "scalar": view(storage, (), (), 4),
            "empty": view(storage, (0, 7), (7, 1)),
            "half": view(halves, (6,), (1,)),
            "brain": view(brains, (6,), (1,)),
        },
        {"0": NUMBERS, "1": NUMBERS.astype(np.float16), "2": NUMBERS.astype(ml_dtypes.bfloat16)},
    )
    tensors = read_torch(path)
    np.testing.assert_array_equal(tensors["whole"], NUMBERS)
    np.testing.assert_array_equal(tensors["transposed"], NUMBERS.T)
    np.testing.assert_array_equal(tensors["row"], NUMBERS[1])
    assert tensors["scalar"] == 4 and tensors["empty"].shape == (0, 7)
    assert np.shares_memory(tensors["whole"], tensors["row"])
    assert tensors["half"].dtype == np.float16 and tensors["brain"].dtype == ml_dtypes.bfloat16
    np.testing.assert_array_equal(tensors["brain"].astype(np.float32), NUMBERS.ravel())
    with pytest.raises(ValueError, match="read-only"):
        tensors["whole"][0, 0] = 1


def test_pytorch_writes_what_we_read(tmp_path):
    torch = pytest.importorskip("torch")
    module = torch.nn.Linear(3, 2)
    tensors = {
        **module.state_dict(),
        "parameter": module.weight,
        "brain": torch.arange(6).to(torch.bfloat16).reshape(2, 3).t(),
        "tied": module.weight.data,
        "long": torch.arange(5)[1:],
    }
    for content in (tensors, module.state_dict()):
        torch.save(content, tmp_path / "a.bin")
        read_back = read_torch(tmp_path / "a.bin")
        assert set(read_back) == set(content)
        for name, expected in content.items():
            np.testing.assert_array_equal(read_back[name].astype(np.float32), expected.detach().float().numpy())
    torch.save(tensors, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    with pytest.raises(MissingError, match=r"from before version 1\.6"):
        read_torch(tmp_path / "old.bin")


class Evil:
    def __reduce__(self):
        import os

        return os.mkdir, ("executed",)


@pytest.mark.parametrize("protocol", [2, 4])
def test_code_in_a_pickle_is_named_and_not_executed(tmp_path, monkeypatch, protocol):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pytorch_model.bin"
    write_torch(path, pickle.dumps({"a": Evil()}, protocol=protocol), {})
    with pytest.raises(
        MissingError, match=r"pytorch_model\.bin: its pickle calls posix\.mkdir, .* nothing was executed"
    ):
        read_weights(tmp_path)
    path.write_bytes(pickle.dumps({"a": Evil()}))  # and without the archive
    with pytest.raises(MissingError, match="not a zip archive"):
        read_weights(tmp_path)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"a": Named("builtins", "eval", ("1",))}, r"calls builtins\.eval"),
        ({"a": Named("torch", "FloatStorage.__init__", ())}, r"calls torch\.FloatStorage\.__init__"),
        ({"a": Named("torch", "FloatStorage", (2**60,))}, "a tensor in an unknown form"),
        ({"a": view(Storage("0", 6), (2, 3), (3, -1))}, "a tensor in an unknown form"),
        ({"a": view(Storage("0", 6), (2, 3), (1,))}, "a tensor in an unknown form"),
        ({"a": view(Storage("0", 6), (2, 3), (3, 1), 1)}, r"'a' of \[2, 3\] does not fit its storage of 6"),
        ({"a": view(Storage("0", 6), (50_000, 50_000), (0, 0))}, "does not fit its storage"),
        ({"a": view(Storage("0", 2_500_000_000), (2_500_000_000,), (1,))}, "has 24 bytes, but declares 2,500,000,000"),
        ({"a": view(Storage("1", 6), (6,), (1,))}, "lacks the storage '1' of 'a'"),
        ({"a": view(Storage("../../0", 6), (6,), (1,))}, "a storage in an unknown form"),
        ({"a": view(Storage("0", 6, "ComplexFloatStorage"), (6,), (1,))}, r"calls torch\.ComplexFloatStorage"),
        ({"a": 5}, "something else than a tensor under 'a'"),
        ({5: view(Storage("0", 6), (6,), (1,))}, "something else than a mapping of names"),
        (view(Storage("0", 6), (6,), (1,)), "holds no mapping of names"),
        ([1, 2], "has EMPTY_LIST, which no tensor needs"),
        (b"\x80\x02}q\x01(", "has no end|truncated"),
        (b"\x80\x02X\xff\xff\xff\x7fabc.", "truncated or damaged"),
        (b"\x80\x02}r\xff\xff\xff\x7f.", None),  # a place in the memo that Python's unpickler would make room for
        (b"}u.", "truncated or damaged"),
        (b"", "has no end|truncated"),
    ],
)
def test_pytorch_files_that_lie(tmp_path, tensors, message):
    path = tmp_path / "a.bin"
    write_torch(path, tensors, {"0": NUMBERS})
    if message is None:
        assert read_torch(path) == {}
        return
    with pytest.raises(MissingError, match=message) as info:
        read_torch(path)
    assert str(info.value).startswith(f"{path}: ") and "\n" not in str(info.value)


def test_pytorch_archives_that_lie(tmp_path):
    path = tmp_path / "a.bin"
    good = {"a": view(Storage("0", 6), (6,), (1,))}
    with pytest.raises(MissingError, match="no such file"):
        read_torch(path)
    write_torch(path, good, {"0": np.zeros(10**6, np.float32)}, compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(MissingError, match="is compressed"):
        read_torch(path)
    write_torch(path, good, {"0": NUMBERS}, byteorder="big")
    with pytest.raises(MissingError, match="not little-endian"):
        read_torch(path)
    write_torch(path, good, {"0": NUMBERS})
    whole = path.read_bytes()
    path.write_bytes(whole[:-30])
    with pytest.raises(MissingError, match="truncated or damaged"):
        read_torch(path)
    place = whole.index(NUMBERS.tobytes())
    path.write_bytes(whole[:place] + b"\xff" + whole[place + 1 :])
    with pytest.raises(MissingError, match="truncated or damaged"):
        read_torch(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "")
    with pytest.raises(MissingError, match=r"not an archive that torch\.save wrote"):
        read_torch(path)
