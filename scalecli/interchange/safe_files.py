"""Weight files of other libraries, read as data: what they declare is checked before memory is taken for it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.hugging_face.torch_files import read_torch
from scalecli.storage.files import is_plain, read_bytes

# Where a Hugging Face folder can have its weights; the first that is there counts.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_INDEX_SUFFIX = ".index.json"
_JSON_BYTES_LIMIT = 64 << 20  # the index of a model of 100 billion parameters has 0.1 MB


def plain_name(name: object, folder: Path, where: Path) -> Path:
    """The file of `folder` that a file `where` names.

    Raises:
        MissingError: the name is not a plain one (it has directories in it, say), or there is no such file.
    """
    if not is_plain(name):
        raise MissingError(f"{where}: names the file {name!r}; only plain names of files beside it are accepted")
    if not (folder / name).is_file():
        raise MissingError(f"{folder / name}: no such file, and {where.name} names it")
    return folder / name


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file of at most 64 MiB.

    Raises:
        MissingError: the file is not there, cannot be read or is larger.
        ConfigurationError: it is not JSON in UTF-8, not a mapping, or has a key twice.
    """

    def mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values = dict(pairs)
        if len(values) < len(pairs):
            keys = [key for key, _ in pairs]
            raise ConfigurationError(f"{path}: has {next(key for key in keys if keys.count(key) > 1)!r} twice")
        return values

    content = read_bytes(path, _JSON_BYTES_LIMIT)
    try:
        values = json.loads(content.decode("utf-8"), object_pairs_hook=mapping)
    except (ValueError, RecursionError) as error:
        raise ConfigurationError(f"{path}: not JSON ({error})") from error
    if not isinstance(values, dict):
        raise ConfigurationError(f"{path}: holds no JSON mapping")
    return values


def require(values: Mapping[str, Any], keys: Iterable[str], file: Path) -> None:
    """Raises ConfigurationError for the first key that a configuration lacks."""
    for key in keys:
        if values.get(key) is None:
            raise ConfigurationError(f"{file}: lacks {key}")


def first_file(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of several files that a folder has, or None."""
    return next((folder / name for name in names if (folder / name).is_file()), None)


def read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a safetensors file by name, in the dtypes of the file; bfloat16 is that of ml_dtypes.

    The library checks the header against the size of the file, without holes or overlaps, before it reads any array.

    Raises:
        MissingError: the file is not there, or damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except FileNotFoundError as error:
        raise MissingError(f"{path}: no such file") from error
    except (OSError, SafetensorError, TypeError, AttributeError) as error:
        # The last two: a dtype that NumPy lacks.
        raise MissingError(f"{path}: not a safetensors file, or a damaged one ({error})") from error


def read_weights(folder: Path) -> tuple[dict[str, np.ndarray], tuple[Path, ...]]:
    """The arrays of a folder's weights by name, shards joined, and the files that were read, the index among them.

    Raises:
        MissingError: no file of weights, one that is not there or damaged, or an index that does not fit its shards.
        ConfigurationError: an index that is not valid.
    """
    file = first_file(folder, WEIGHT_FILES)
    if file is None:
        raise MissingError(f"{folder}: has no weights; one of {', '.join(WEIGHT_FILES)} is accepted")
    read = read_safetensors if "safetensors" in file.name else read_torch
    return _read_shards(file, read) if file.name.endswith(_INDEX_SUFFIX) else (read(file), (file,))


def _read_shards(
    index: Path, read: Callable[[Path], dict[str, np.ndarray]]
) -> tuple[dict[str, np.ndarray], tuple[Path, ...]]:
    shard_of = read_json(index).get("weight_map")
    if not isinstance(shard_of, dict) or not shard_of:
        raise ConfigurationError(f"{index}: lacks weight_map, the shard of each weight")
    shards = {str(name): plain_name(name, index.parent, index) for name in shard_of.values()}
    arrays: dict[str, np.ndarray] = {}
    for shard, file in sorted(shards.items()):
        content = read(file)
        expected = {name for name, owner in shard_of.items() if owner == shard}
        if different := sorted(content.keys() ^ expected):
            lacks = "lacks" if different[0] in expected else "has"
            raise MissingError(f"{file}: {lacks} {different[0]!r}, unlike what {index.name} says")
        arrays |= content
    return arrays, (index, *(shards[shard] for shard in sorted(shards)))
