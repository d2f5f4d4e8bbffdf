"""PyTorch's weight files without PyTorch: a zip archive of raw storages and of a pickle that says how to view them.

The pickle is never given to Python's unpickler. It is read as data: a small stack machine knows the operations that
`torch.save` writes for named tensors, builds nothing but them, and calls nothing that the file names.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalecli.errors import MissingError

_ZIP_START = b"PK\x03\x04"
_PICKLE_BYTES_LIMIT = 64 << 20  # 200 bytes a tensor, about

_STORAGE_DTYPES = {
    "torch.DoubleStorage": "float64",
    "torch.FloatStorage": "float32",
    "torch.HalfStorage": "float16",
    "torch.BFloat16Storage": "bfloat16",
    "torch.LongStorage": "int64",
    "torch.IntStorage": "int32",
    "torch.ShortStorage": "int16",
    "torch.CharStorage": "int8",
    "torch.ByteStorage": "uint8",
    "torch.BoolStorage": "bool",
}
_TENSOR = "torch._utils._rebuild_tensor_v2"
_PARAMETER = "torch._utils._rebuild_parameter"
_MAPPING = "collections.OrderedDict"
_ACCEPTED = {*_STORAGE_DTYPES, _TENSOR, _PARAMETER, _MAPPING}


class _DamagedError(Exception):
    """What is wrong with a file, in a few words."""


@dataclass(frozen=True)
class _Global:
    """The name of something in Python, which stays a name."""

    name: str


@dataclass(frozen=True)
class _Storage:
    """`numbers` numbers of one dtype, in the archive's entry `key`."""

    dtype: str
    key: str
    numbers: int


@dataclass(frozen=True)
class _Tensor:
    """A view of a storage; offset and strides in numbers."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """The tensors of a file that `torch.save` wrote, by name, in the dtypes of the file (bfloat16: ml_dtypes).

    Tensors that share a storage are views of one array. They can't be written to.

    Raises:
        MissingError: the file is not there, damaged, of a version before PyTorch 1.6, or holds anything but tensors;
            what it would have called is named, and not called.
    """
    try:
        with path.open("rb") as stream:
            start = stream.read(len(_ZIP_START))
            if start != _ZIP_START:
                raise _DamagedError(
                    "not a zip archive, so no PyTorch file or one from before version 1.6; "
                    "torch.save or safetensors of today is accepted"
                )
            with zipfile.ZipFile(stream) as archive:
                return _read_archive(archive, path.stat().st_size)
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no such file") from error
    except _DamagedError as error:
        raise MissingError(f"{path}: {error}") from error
    except (zipfile.BadZipFile, EOFError, RuntimeError, ArithmeticError, ValueError, OSError) as error:
        raise MissingError(f"{path}: truncated or damaged ({error})") from error


def _read_archive(archive: zipfile.ZipFile, file_bytes: int) -> dict[str, np.ndarray]:
    """The tensors of an archive; all sizes are checked before an entry is read."""
    entries = {entry.filename: entry for entry in archive.infolist()}
    pickles = [name for name in entries if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1 or len(entries) < len(archive.infolist()):
        raise _DamagedError("not an archive that torch.save wrote (it has one data.pkl, and no name twice)")
    for entry in entries.values():
        if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size:
            raise _DamagedError(f"{entry.filename} is compressed, which torch.save never does")
    if sum(entry.file_size for entry in entries.values()) > file_bytes:
        raise _DamagedError("declares more bytes than the file has")
    folder = pickles[0].removesuffix("data.pkl")
    order = entries.get(f"{folder}byteorder")
    if order is not None and (order.file_size > len("little") or archive.read(order) != b"little"):
        raise _DamagedError("its numbers are not little-endian")
    if entries[pickles[0]].file_size > _PICKLE_BYTES_LIMIT:
        raise _DamagedError(f"its data.pkl is larger than the {_PICKLE_BYTES_LIMIT:,} bytes that are accepted here")
    tensors = _named_tensors(_interpret(archive.read(pickles[0])))

    storages: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        key = tensor.storage.key
        if key not in storages:
            storages[key] = _read_storage(archive, entries.get(f"{folder}data/{key}"), tensor.storage, name)
    return {name: _view(storages[tensor.storage.key], tensor, name) for name, tensor in tensors.items()}


def _read_storage(archive: zipfile.ZipFile, entry: zipfile.ZipInfo | None, storage: _Storage, name: str) -> np.ndarray:
    """A storage [numbers], whose size is checked before it is read."""
    dtype = np.dtype(storage.dtype)
    if entry is None:
        raise _DamagedError(f"lacks the storage {storage.key!r} of {name!r}")
    if entry.file_size != storage.numbers * dtype.itemsize:
        raise _DamagedError(
            f"the storage of {name!r} has {entry.file_size:,} bytes, but declares {storage.numbers:,} x {dtype.name}"
        )
    return np.frombuffer(archive.read(entry), dtype)


def _view(storage: np.ndarray, tensor: _Tensor, name: str) -> np.ndarray:
    """The tensor as a view of its storage, after a look at whether it stays inside."""
    numbers, size = len(storage), math.prod(tensor.shape)
    last = tensor.offset + sum((length - 1) * step for length, step in zip(tensor.shape, tensor.strides, strict=True))
    if storage.dtype != np.dtype(tensor.storage.dtype) or (size and (size > numbers or last >= numbers)):
        raise _DamagedError(f"{name!r} of {list(tensor.shape)} does not fit its storage of {numbers:,} numbers")
    return np.lib.stride_tricks.as_strided(
        storage[tensor.offset if size else 0 :],
        tensor.shape,
        [stride * storage.itemsize for stride in tensor.strides],
        writeable=False,
    )


def _named_tensors(value: Any) -> dict[str, _Tensor]:
    if not isinstance(value, dict):
        raise _DamagedError("holds no mapping of names to tensors")
    for name, tensor in value.items():
        if not isinstance(tensor, _Tensor):
            raise _DamagedError(f"holds something else than a tensor under {name!r}")
    return value


def _interpret(pickle: bytes) -> Any:
    """What a pickle of named tensors describes, without a call of anything that it names."""
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[int, Any] = {}
    argument: Any

    def pop_to_mark() -> list[Any]:
        start = marks.pop()
        values = stack[start:]
        del stack[start:]
        return values

    try:
        for operation, argument, _ in pickletools.genops(io.BytesIO(pickle)):
            match operation.name:
                case "PROTO" | "FRAME":
                    pass
                case "STOP":
                    return stack.pop()
                case "MARK":
                    marks.append(len(stack))
                case "GLOBAL":
                    stack.append(_accepted(*argument.split(" ", 1)))
                case "STACK_GLOBAL":
                    name = stack.pop()
                    stack.append(_accepted(stack.pop(), name))
                case "BINPUT" | "LONG_BINPUT":
                    memo[argument] = stack[-1]
                case "MEMOIZE":
                    memo[len(memo)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memo[argument])
                case "BINUNICODE" | "SHORT_BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1":
                    stack.append(argument)
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[operation.name])
                case "EMPTY_DICT":
                    stack.append({})
                case "EMPTY_TUPLE":
                    stack.append(())
                case "TUPLE":
                    stack.append(tuple(pop_to_mark()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    count = int(operation.name[-1])
                    stack[-count:] = [tuple(stack[-count:])]
                case "SETITEM" | "SETITEMS":
                    values = pop_to_mark() if operation.name == "SETITEMS" else [stack.pop(-2), stack.pop()]
                    _set_items(stack[-1], values)
                case "BINPERSID":
                    stack.append(_storage(stack.pop()))
                case "REDUCE":
                    arguments = stack.pop()
                    stack.append(_rebuild(stack.pop(), arguments))
                case "BUILD":  # a state dict's notes on the modules that it is from
                    stack.pop()
                    _set_items(stack[-1], [])
                case _:
                    raise _DamagedError(f"its pickle has {operation.name}, which no tensor needs; refused")
    except (IndexError, KeyError, ValueError, RecursionError) as error:
        raise _DamagedError(f"its pickle is truncated or damaged ({error})") from error
    raise _DamagedError("its pickle has no end")


def _accepted(module: object, attribute: object) -> _Global:
    name = f"{module}.{attribute}"
    if name not in _ACCEPTED:
        raise _DamagedError(f"its pickle calls {name}, which no tensor needs; refused, and nothing was executed")
    return _Global(name)


def _set_items(mapping: Any, values: list[Any]) -> None:
    """Puts keys and values, one after the other, into a mapping."""
    names = values[::2]
    if not isinstance(mapping, dict) or len(values) % 2 or not all(isinstance(name, str) for name in names):
        raise _DamagedError("its pickle fills something else than a mapping of names; refused")
    mapping.update(zip(names, values[1::2], strict=True))


def _storage(value: Any) -> _Storage:
    """The storage that a pickle refers to as ("storage", its type, the archive's entry, a device, its length)."""
    match value:
        case ("storage", _Global(name), str(key), str(), int(numbers)) if name in _STORAGE_DTYPES:
            if key.isdigit() and numbers >= 0:
                return _Storage(_STORAGE_DTYPES[name], key, numbers)
    raise _DamagedError("its pickle refers to a storage in an unknown form; refused")


def _rebuild(function: Any, arguments: Any) -> Any:
    """What one of the accepted names makes of its arguments."""
    match function, arguments:
        case _Global(name), () if name == _MAPPING:
            return {}
        case _Global(name), (_Tensor() as tensor, bool(), dict()) if name == _PARAMETER:
            return tensor
        case _Global(name), (_Storage() as storage, int(offset), tuple(shape), tuple(strides), bool(), dict(), *_) if (
            name == _TENSOR
        ):
            numbers = (offset, *shape, *strides)
            if len(shape) == len(strides) and all(type(number) is int and number >= 0 for number in numbers):
                return _Tensor(storage, offset, shape, strides)
    raise _DamagedError("its pickle describes a tensor in an unknown form; refused")
