"""T5X's files as data: a tree in msgpack (flax's serialization), and arrays beside it that TensorStore wrote as zarr.

An array is in the tree itself, or the tree names a folder that holds it in chunks (zarr, version 2, gzip). Nothing is
asked of TensorStore: the tree's directions to it could name any file or address.
"""

from __future__ import annotations

import itertools
import math
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import msgpack
import numpy as np

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.safe_files import plain_name, read_json
from scalecli.storage.files import is_plain

_ARRAY_TYPES = (1, 3)  # of flax's msgpack extensions: an array, and a NumPy scalar
_LONGEST_LIST = 64  # of a shape, or of chunks; everything else is a mapping
_MOST_KEYS = 1 << 20
_LONGEST_NAME = 4096
_DTYPES = {
    **{name: name for name in ("float32", "float16", "bfloat16", "int32", "int64", "uint32")},
    **{"<f4": "float32", "<f2": "float16", "<i4": "int32", "<i8": "int64", "<u4": "uint32"},  # zarr's names
}
_GZIP_RATIO = 1100  # gzip makes nothing smaller than a 1,032th
_GZIP = 47  # for zlib: with the header of gzip or its own


@dataclass(frozen=True)
class Chunked:
    """An array in a folder of chunks, read when NumPy is asked to make an array of it.

    Chunks at the edges are as large as others. `packed`: by gzip or zlib.
    """

    folder: Path
    shape: tuple[int, ...]
    dtype: str
    chunk: tuple[int, ...]
    packed: bool

    @classmethod
    def open(cls, folder: Path) -> Chunked:
        """Reads what an array's `.zarray` says of it, and checks that its chunks are there and can hold it.

        Raises:
            MissingError: a file is not there, or too small for what is declared.
            ConfigurationError: a form that T5X doesn't write.
        """
        file = folder / ".zarray"
        values = read_json(file)
        shape, chunk, dtype = values.get("shape"), values.get("chunks"), _DTYPES.get(str(values.get("dtype")))
        compressor = values.get("compressor")
        packing = compressor.get("id") if isinstance(compressor, dict) else compressor
        if not (
            dtype is not None
            and _are_sizes(shape)
            and _are_sizes(chunk, least=1)
            and len(shape) == len(chunk)
            and packing in (None, "gzip", "zlib")
            and values.get("zarr_format") == 2
            and values.get("dimension_separator", ".") == "."
            and values.get("order", "C") == "C"
            and not values.get("filters")
        ):
            raise ConfigurationError(f"{file}: not an array of T5X (zarr 2, gzip, float32, float16 or bfloat16)")
        array = cls(folder, tuple(shape), dtype, tuple(chunk), packing is not None)
        if not folder.is_dir() or array.chunk_count > sum(1 for _ in folder.iterdir()):
            raise MissingError(f"{folder}: lacks chunks; the array is declared to have {array.chunk_count:,}")
        chunk_bytes = math.prod(chunk) * np.dtype(array.dtype).itemsize
        for name, _ in array.chunks():
            if not (folder / name).is_file():
                raise MissingError(f"{folder}: lacks the chunk {name}")
            size = (folder / name).stat().st_size
            if chunk_bytes > size * (_GZIP_RATIO if array.packed else 1):
                raise MissingError(f"{folder / name}: {size:,} bytes can't hold the {chunk_bytes:,} that are declared")
        return array

    @property
    def files(self) -> tuple[str, ...]:
        """The names of its files, its folder's name before them."""
        return tuple(f"{self.folder.name}/{name}" for name in (".zarray", *(name for name, _ in self.chunks())))

    @property
    def chunk_count(self) -> int:
        """How many chunks it has."""
        return math.prod(self._counts)

    @property
    def _counts(self) -> list[int]:
        return [-(-size // step) for size, step in zip(self.shape, self.chunk, strict=True)]

    def chunks(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """The names of the chunks, and where in the array each begins."""
        for position in itertools.product(*map(range, self._counts)):
            name = ".".join(map(str, position)) or "0"
            yield name, tuple(index * step for index, step in zip(position, self.chunk, strict=True))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Reads the array.

        Raises:
            MissingError: a chunk is damaged.
        """
        array = np.empty(self.shape, self.dtype)
        wanted = math.prod(self.chunk) * array.itemsize
        for name, start in self.chunks():
            file = self.folder / name
            try:
                content = file.read_bytes()
                if self.packed:
                    content = zlib.decompressobj(_GZIP).decompress(content, wanted + 1)
            except (OSError, zlib.error) as error:
                raise MissingError(f"{file}: cannot be read ({error})") from error
            if len(content) != wanted:
                raise MissingError(f"{file}: damaged; it has not the {wanted:,} bytes that are declared")
            inside = tuple(
                slice(begin, min(begin + step, size))
                for begin, step, size in zip(start, self.chunk, self.shape, strict=True)
            )
            part = np.frombuffer(content, array.dtype).reshape(self.chunk)
            array[inside] = part[tuple(slice(0, part_slice.stop - part_slice.start) for part_slice in inside)]
        return array


def read_tree(file: Path) -> dict[str, np.ndarray | Chunked]:
    """The arrays of a checkpoint by their paths in its tree, such as `target/decoder/decoder_norm/scale`.

    Raises:
        MissingError: the file is not there or damaged, or names what is not beside it.
        ConfigurationError: it is not a checkpoint of T5X.
    """
    try:
        tree = msgpack.unpackb(
            file.read_bytes(),
            ext_hook=_array,
            max_array_len=_LONGEST_LIST,
            max_map_len=_MOST_KEYS,
            max_str_len=_LONGEST_NAME,
        )
    except FileNotFoundError as error:
        raise MissingError(f"{file}: no such file") from error
    except (OSError, ValueError, TypeError, RecursionError, msgpack.UnpackException) as error:
        raise MissingError(
            f"{file}: not a checkpoint of T5X, or a damaged one ({error or type(error).__name__})"
        ) from error
    if not isinstance(tree, dict) or not isinstance(tree.get("optimizer"), dict):
        raise ConfigurationError(f"{file}: not a checkpoint of T5X; it has no 'optimizer' with a 'target'")
    return dict(_leaves(tree["optimizer"], "", file))


def _leaves(tree: dict[str, Any], prefix: str, file: Path) -> Iterator[tuple[str, np.ndarray | Chunked]]:
    """The arrays of a tree by their paths; what T5X leaves empty has none."""
    for key, value in tree.items():
        path = f"{prefix}{key}"
        if isinstance(value, dict) and "kvstore" in value:
            yield path, Chunked.open(_array_folder(value, path, file))
        elif isinstance(value, dict):
            yield from _leaves(value, f"{path}/", file)
        elif hasattr(value, "shape"):
            yield path, value
        elif value is not None:
            raise ConfigurationError(f"{file}: {path} is neither an array nor says where one is")


def _array_folder(directions: dict[str, Any], path: str, file: Path) -> Path:
    """The folder beside the tree that directions to TensorStore mean, wherever they lead."""
    store = directions["kvstore"]
    name = (store.get("path") if isinstance(store, dict) else None) or directions.get("path")
    name = name.rstrip("/") if isinstance(name, str) else name
    if not is_plain(name):
        raise MissingError(f"{file}: {path} is in {name!r}; only plain names of folders beside the file are accepted")
    plain_name(".zarray", file.parent / name, file)
    return file.parent / name


def _array(kind: int, content: bytes) -> np.ndarray:
    """An array of flax's extension: its shape, the name of its dtype, and its bytes, which have to fit."""
    match msgpack.unpackb(content, max_array_len=_LONGEST_LIST) if kind in _ARRAY_TYPES else None:
        case [shape, str(name), bytes(numbers)] if name in _DTYPES and _are_sizes(shape):
            dtype = np.dtype(_DTYPES[name])
            if math.prod(shape) * dtype.itemsize == len(numbers):
                return np.frombuffer(numbers, dtype).reshape(shape)
            raise ValueError(f"{len(numbers):,} bytes for {name} {shape}")
    raise ValueError("an array in an unknown form")


def _are_sizes(value: object, least: int = 0) -> TypeGuard[list[int]]:
    return (
        isinstance(value, list)
        and len(value) <= _LONGEST_LIST
        and all(type(size) is int and least <= size < 2**40 for size in value)
    )
