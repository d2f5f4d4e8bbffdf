"""TensorFlow's checkpoint files, read as data: `NAME.index`, and the shards `NAME.data-00000-of-00002`.

The index is a table of LevelDB's format (a footer, blocks of keys that share prefixes with the key before). Its values
are protocol buffers: for the empty key the number of shards, for each variable its dtype, shape, shard, place in it and
checksum. TensorFlow's own reader ends the process where the index of a stranger is not as it should be; this one says
so in one line, and takes memory for nothing that the shards do not have.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import google_crc32c
import numpy as np

from scalecli.errors import MissingError
from scalecli.storage.files import read_bytes

_INDEX_LIMIT = 256 << 20  # a variable takes about 100 bytes
_FOOTER, _MAGIC = 48, 0xDB4775248B80FB57
_TRAILER = 5  # after each block: how it is compressed, and its checksum
_DTYPES = {1: "float32", 2: "float64", 3: "int32", 9: "int64", 14: "bfloat16", 19: "float16"}
_MOST_AXES, _MOST_SHARDS = 16, 100_000


@dataclass(frozen=True)
class Variable:
    """Where a variable lies: `bytes` from `offset` on in one of the shards, with the checksum of that."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    bytes: int
    checksum: int


class _DamagedError(Exception):
    """What is wrong with the index."""


@dataclass(frozen=True)
class TensorBundle:
    """One checkpoint: the folder, the name that its files have in common, its variables by name.

    Make one by `open`, which has checked that all that the index declares is in the shards.
    """

    folder: Path
    name: str
    shards: int
    variables: dict[str, Variable]

    @classmethod
    def open(cls, folder: Path, name: str) -> TensorBundle:
        """Reads the index of `folder/name`, and checks the shards' sizes.

        Raises:
            MissingError: a file is not there, damaged, truncated, or declares what the shards do not have.
        """
        index = folder / f"{name}.index"
        try:
            shards, variables = _read_index(read_bytes(index, _INDEX_LIMIT))
        except (_DamagedError, struct.error, IndexError, UnicodeDecodeError) as error:
            what = str(error) if isinstance(error, _DamagedError) else "a number or a name in it can't be"
            raise MissingError(f"{index}: not the index of a checkpoint, or a damaged one ({what})") from None
        bundle = cls(folder, name, shards, variables)
        for variable in variables.values():
            if variable.offset + variable.bytes > bundle._sizes[variable.shard]:
                raise MissingError(
                    f"{bundle._shard(variable.shard)}: truncated: {variable.name} of {variable.bytes:,} bytes should "
                    f"begin at byte {variable.offset:,}, and the file has {bundle._sizes[variable.shard]:,}"
                )
        return bundle

    @property
    def files(self) -> tuple[str, ...]:
        """The names of the checkpoint's files."""
        return (f"{self.name}.index", *(self._shard(number).name for number in range(self.shards)))

    def _shard(self, number: int) -> Path:
        return self.folder / f"{self.name}.data-{number:05d}-of-{self.shards:05d}"

    @cached_property
    def _sizes(self) -> list[int]:
        sizes = []
        for number in range(self.shards):
            try:
                sizes.append(self._shard(number).stat().st_size)
            except OSError as error:
                raise MissingError(f"{self._shard(number)}: cannot be read ({error.strerror})") from error
        return sizes

    def read(self, name: str) -> np.ndarray:
        """A variable's array, bfloat16 as that of ml_dtypes.

        Raises:
            MissingError: its bytes are not those of the checksum.
        """
        variable = self.variables[name]
        shard = self._shard(variable.shard)
        try:
            with shard.open("rb") as stream:
                stream.seek(variable.offset)
                content = stream.read(variable.bytes)
        except OSError as error:
            raise MissingError(f"{shard}: cannot be read ({error.strerror})") from error
        if _masked(google_crc32c.value(content)) != variable.checksum:
            raise MissingError(f"{shard}: damaged (the checksum of {name} is not the one in the index)")
        return np.frombuffer(content, dtype=np.dtype(variable.dtype)).reshape(variable.shape)


def _masked(checksum: int) -> int:
    """How LevelDB stores a CRC-32C, so that the checksum of data with checksums in it is none of them."""
    return (((checksum >> 15) | (checksum << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def _read_index(content: bytes) -> tuple[int, dict[str, Variable]]:
    if len(content) < _FOOTER or struct.unpack("<Q", content[-8:])[0] != _MAGIC:
        raise _DamagedError("its end is not that of a table")
    _, position = _handle(content, len(content) - _FOOTER)
    (start, size), _ = _handle(content, position)
    shards, variables = 0, {}
    for _, handle in _entries(_block(content, start, size)):
        (start, size), _ = _handle(handle, 0)
        for key, value in _entries(_block(content, start, size)):
            if not key:
                shards = _header(value)
            else:
                name = key.decode("utf-8")
                variables[name] = _variable(name, value, shards)
    if not variables:
        raise _DamagedError("it has no variables")
    return shards, variables


def _handle(data: bytes, position: int) -> tuple[tuple[int, int], int]:
    """Start and size of a block, and where the reader is then."""
    start, position = _varint(data, position)
    size, position = _varint(data, position)
    return (start, size), position


def _block(content: bytes, start: int, size: int) -> bytes:
    """The entries of a block, without the list of restarts at its end."""
    if start + size + _TRAILER > len(content):
        raise _DamagedError("it is truncated")
    block, kind = content[start : start + size], content[start + size]
    if kind != 0:
        raise _DamagedError("it is compressed")
    (checksum,) = struct.unpack_from("<I", content, start + size + 1)
    if _masked(google_crc32c.value(content[start : start + size + 1])) != checksum:
        raise _DamagedError("a checksum in it is wrong")
    (restarts,) = struct.unpack("<I", block[-4:])
    if 4 * (restarts + 1) > size:
        raise _DamagedError("a block of it is truncated")
    return block[: size - 4 * (restarts + 1)]


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    key, position = b"", 0
    while position < len(block):
        shared, position = _varint(block, position)
        added, position = _varint(block, position)
        length, position = _varint(block, position)
        if shared > len(key) or position + added + length > len(block):
            raise _DamagedError("an entry of it is truncated")
        key = key[:shared] + block[position : position + added]
        position += added
        yield key, block[position : position + length]
        position += length


def _header(message: bytes) -> int:
    fields = dict(_fields(message))
    shards = _number(fields, 1, "the header")
    if not 1 <= shards <= _MOST_SHARDS:
        raise _DamagedError(f"it has {shards} shards")
    if _number(fields, 2, "the header") != 0:
        raise _DamagedError("its numbers are big-endian")
    return shards


def _variable(name: str, message: bytes, shards: int) -> Variable:
    """An entry of the index: dtype 1, shape 2, shard 3, offset 4, size 5, checksum 6, slices 7."""
    fields = dict(_fields(message))
    if 7 in fields:
        raise _DamagedError(f"{name} is in slices")
    dtype, shard, offset, size, checksum = (_number(fields, field, name) for field in (1, 3, 4, 5, 6))
    shape = fields.get(2, b"")
    if not isinstance(shape, bytes):
        raise _DamagedError(f"the entry of {name} is of another kind")
    if dtype not in _DTYPES:
        raise _DamagedError(f"{name} has the dtype number {dtype}; {', '.join(_DTYPES.values())} are accepted")
    sizes = tuple(_axis(axis) for field, axis in _fields(shape) if field == 2)
    itemsize = {"bfloat16": 2, "float16": 2, "float32": 4, "int32": 4}.get(_DTYPES[dtype], 8)
    if shard >= shards or len(sizes) > _MOST_AXES or math.prod(sizes) * itemsize != size:
        raise _DamagedError(f"{name} is {_DTYPES[dtype]} {list(sizes)} in {size:,} bytes of shard {shard}")
    return Variable(name, _DTYPES[dtype], sizes, shard, offset, size, checksum)


def _axis(message: int | bytes) -> int:
    size = _number(dict(_fields(message)), 1, "an axis") if isinstance(message, bytes) else -1
    if not 0 <= size < 1 << 40:  # a negative number is a huge one here
        raise _DamagedError(f"an axis has {size} entries")
    return size


def _number(fields: dict[int, int | bytes], field: int, what: str) -> int:
    value = fields.get(field, 0)
    if isinstance(value, bytes):
        raise _DamagedError(f"the entry of {what} is of another kind")
    return value


def _fields(message: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Numbers and contents of a protocol buffer's fields."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield number, value
        elif kind in (1, 5):
            width = 8 if kind == 1 else 4
            yield number, int.from_bytes(_cut(message, position, width), "little")
            position += width
        elif kind == 2:
            length, position = _varint(message, position)
            yield number, _cut(message, position, length)
            position += length
        else:
            raise _DamagedError(f"a field is of the kind {kind}")


def _cut(data: bytes, position: int, length: int) -> bytes:
    if position + length > len(data):
        raise _DamagedError("an entry of it is truncated")
    return data[position : position + length]


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """A number of seven bits a byte, the lowest first, and the position after it."""
    value, shift = 0, 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
        if shift > 63:
            raise _DamagedError("a number in it is too long")
