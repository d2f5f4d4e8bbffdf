"""The .npz files of the original ViT code (google-research/vision_transformer), in and out."""

from __future__ import annotations

import math
import re
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.imported import Imported, from_arrays
from scalecli.interchange.plain_t5 import check_own_keys_and_values
from scalecli.interchange.weight_map import Exported, Location, all_locations, check_only_weights, scatter
from scalecli.shape import Shape
from scalecli.specs import EncoderOnly
from scalecli.specs.vision import CHANNELS

FORMAT = "vit-npz"
_SUFFIX = ".npz"
_MOST_EXPANSION = 20  # weights hardly shrink when they are compressed; what grows more is no file of weights

_LAYER = "Transformer/encoderblock_{}/"
_ATTENTION, _MLP = "MultiHeadDotProductAttention_1", "MlpBlock_3"
_NORMS = {"self_attention": "LayerNorm_0", "feed_forward": "LayerNorm_2"}
_MODULES = {
    "self_attention": {name: f"{_ATTENTION}/{name}" for name in ("query", "key", "value")}
    | {"output": f"{_ATTENTION}/out"},
    "feed_forward": {"input": f"{_MLP}/Dense_0", "output": f"{_MLP}/Dense_1"},
}
_KERNEL, _POSITIONS, _HEAD = "embedding/kernel", "Transformer/posembed_input/pos_embedding", "head/kernel"


def select_files(names: Iterable[str], step: int | None) -> list[str]:
    """The one such file of a folder; none where it has none or several."""
    files = [name for name in names if name.endswith(_SUFFIX)]
    return files if len(files) == 1 else []


def recognizes(path: Path) -> bool:
    """Whether a path is such a file, or a folder that has just one."""
    if path.is_dir():
        return bool(select_files((file.name for file in path.iterdir()), None))
    return path.suffix == _SUFFIX and path.is_file()


def check(architecture: str, shape: Shape) -> None:
    """Checks that the layout can hold a model of images. Raises ConfigurationError with the reason where it cannot."""
    check_own_keys_and_values(shape, "the original ViT")
    if shape.numerics is not None:
        raise ConfigurationError(
            f"the original ViT has GELU by tanh and an epsilon of 1e-6; this run's numerics are {shape.numerics}"
        )


def read(path: Path, *, step: int | None, optimizer: bool) -> Imported:
    """The model in a file, or in the one such file of a folder; its shapes say all of the configuration.

    Raises:
        MissingError: the file is damaged, or the optimizer's state was asked for.
        ConfigurationError: a model that scalecli does not have; says what is different. Or a step was asked for.
    """
    check_only_weights(path, step, optimizer)
    file = path if path.is_file() else next(file for file in path.iterdir() if file.suffix == _SUFFIX)
    arrays = _read_arrays(file)
    return from_arrays(FORMAT, "vit", _shape(arrays, file), locations, arrays, file, [file])


def write(folder: Path, model: Exported) -> None:
    """Writes `model.npz` into an empty folder.

    Raises:
        ConfigurationError: another precision than float32 is asked for.
        OSError: it cannot be written.
    """
    if model.precision != "float32":
        raise ConfigurationError(f"--precision {model.precision}: the original ViT's files hold float32")
    assert isinstance(model.spec, EncoderOnly)
    arrays: dict[str, Any] = dict(scatter(model, locations(model.spec)))
    np.savez(folder / f"model{_SUFFIX}", **arrays)


def locations(spec: EncoderOnly) -> dict[str, Location]:
    """Where the original has each weight; it keeps heads apart, and patches as rows, columns and colors."""
    embedding = spec.embedding
    width, side = embedding.d_model, embedding.patch_size
    attention: Any = spec.encoder.repeats[0].block.residuals()[0].layer
    split = (attention.heads, attention.d_kv)
    shapes = {
        **dict.fromkeys(("query", "key", "value"), (width, *split)),
        **dict.fromkeys(("query_bias", "key_bias", "value_bias"), split),
        "output": (*split, width),
    }
    others = {
        "embedding/kernel": Location((_KERNEL,), shape=(side, side, CHANNELS, width)),
        "embedding/bias": Location(("embedding/bias",)),
        "embedding/class_token": Location(("cls",), shape=(1, 1, width)),
        "embedding/positions": Location((_POSITIONS,), shape=(1, embedding.patches + 1, width)),
        "encoder/final_norm/scale": Location(("Transformer/encoder_norm/scale",)),
        "encoder/final_norm/bias": Location(("Transformer/encoder_norm/bias",)),
        "logits/kernel": Location((_HEAD,)),
        "logits/bias": Location(("head/bias",)),
    }

    def in_layers(path: str, copies: int) -> Location:
        _, _, sublayer, *rest = path.split("/")
        names = tuple(_LAYER.format(layer) + _name(sublayer, rest) for layer in range(copies))
        return Location(names, shape=shapes.get(rest[0]) if sublayer == "self_attention" else None)

    return all_locations(spec, others, in_layers)


def _name(sublayer: str, rest: list[str]) -> str:
    """The name in a layer: of `norm/scale`, `query`, `query_bias` and so on."""
    if rest[0] == "norm":
        return f"{_NORMS[sublayer]}/{rest[1]}"
    kind = "bias" if rest[0].endswith("_bias") else "kernel"
    return f"{_MODULES[sublayer][rest[0].removesuffix('_bias')]}/{kind}"


def _read_arrays(file: Path) -> dict[str, np.ndarray]:
    """Every array by name; nothing in the file is run, and no more memory taken than its size allows."""
    try:
        with zipfile.ZipFile(file) as archive:
            declared = sum(entry.file_size for entry in archive.infolist())
        if declared > _MOST_EXPANSION * file.stat().st_size:
            raise MissingError(f"{file}: declares {declared:,} bytes, more than a file of weights of its size holds")
        with np.load(file, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (OSError, ValueError, EOFError, MemoryError, zipfile.BadZipFile, NotImplementedError) as error:
        raise MissingError(f"{file}: not a .npz file of arrays, or a damaged one ({error})") from error


def _shape(arrays: dict[str, np.ndarray], file: Path) -> Shape:
    if extra := sorted(name for name in arrays if name.startswith("pre_logits/")):
        raise ConfigurationError(f"{file}: has {extra[0]!r}, a layer before the head, which scalecli's ViT hasn't")
    query = _LAYER.format(0) + _name("self_attention", ["query"])
    hidden = _LAYER.format(0) + _name("feed_forward", ["input"])
    for name, dimensions in ((_KERNEL, 4), (_POSITIONS, 3), (query, 3), (hidden, 2), (_HEAD, 2)):
        if name not in arrays:
            raise ConfigurationError(f"{file}: lacks {name!r}, which the original ViT has")
        if arrays[name].ndim != dimensions:
            raise ConfigurationError(f"{file}: {name!r} has {arrays[name].ndim} axes; {dimensions} are accepted")
    layers = {match[1] for name in arrays if (match := re.match(r"Transformer/encoderblock_(\d{1,8})/", name))}
    side, _, _, width = arrays[_KERNEL].shape
    grid = math.isqrt(max(arrays[_POSITIONS].shape[1] - 1, 0))
    _, heads, d_kv = arrays[query].shape
    values = {
        **{"encoder_layers": len(layers), "d_model": width, "d_ff": arrays[hidden].shape[1]},
        **{"d_kv": d_kv, "heads": heads, "image_size": grid * side, "patch_size": side},
        "classes": arrays[_HEAD].shape[1],
    }
    return Shape.from_dict(values, str(file))
