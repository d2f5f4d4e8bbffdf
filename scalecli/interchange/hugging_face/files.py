"""What all models in Hugging Face's format have alike: the names of files, and weights in one or in shards."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors.numpy

from scalecli.interchange.safe_files import WEIGHT_FILES
from scalecli.interchange.weight_map import Exported, Location, scatter
from scalecli.storage.files import give_usual_mode

FORMAT = "hugging-face"
CONFIG = "config.json"
_SHARD_BYTES = 5 * 10**9  # no more than this is copied at a time


def write_weights(folder: Path, model: Exported, locations: Mapping[str, Location]) -> None:
    """One safetensors file, or shards and their index.

    Raises:
        OSError, safetensors.SafetensorError: it cannot be written.
    """
    dtype = np.dtype(ml_dtypes.bfloat16 if model.precision == "bfloat16" else model.precision)
    shards = list(_shards(scatter(model, locations), dtype.itemsize))
    names = {}
    for number, tensors in enumerate(shards, start=1):
        file = f"model-{number:05d}-of-{len(shards):05d}.safetensors" if len(shards) > 1 else WEIGHT_FILES[0]
        arrays = {name: np.ascontiguousarray(array, dtype) for name, array in tensors.items()}
        safetensors.numpy.save_file(arrays, folder / file, metadata={"format": "pt"})
        give_usual_mode(folder / file)
        names.update(dict.fromkeys(arrays, file))
    if len(shards) > 1:
        total = model.spec.parameters() * dtype.itemsize
        write_json(folder / WEIGHT_FILES[1], {"metadata": {"total_size": total}, "weight_map": names})


def write_json(path: Path, values: dict[str, Any]) -> None:
    """Writes a mapping for people to read, too."""
    path.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")


def _shards(tensors: Iterator[tuple[str, np.ndarray]], itemsize: int) -> Iterator[dict[str, np.ndarray]]:
    """The tensors in groups of at most `_SHARD_BYTES`; one that is larger has a group to itself."""
    group: dict[str, np.ndarray] = {}
    for name, array in tensors:
        if group and (sum(tensor.size for tensor in group.values()) + array.size) * itemsize > _SHARD_BYTES:
            yield group
            group = {}
        group[name] = array
    yield group
