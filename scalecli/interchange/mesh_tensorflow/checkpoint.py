"""Mesh-TensorFlow's checkpoints, in which T5 and the models of both papers were released."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from scalecli.architectures import build_text_spec
from scalecli.costs import factored_axes
from scalecli.errors import ConfigurationError, MissingError, nearest
from scalecli.interchange.imported import VOCABULARIES, Imported, SourceFile, chosen_step
from scalecli.interchange.mesh_tensorflow.gin import Gin
from scalecli.interchange.mesh_tensorflow.models import identify
from scalecli.interchange.mesh_tensorflow.names import NAMED_LAYERS, variable_names
from scalecli.interchange.mesh_tensorflow.tensor_bundle import TensorBundle
from scalecli.interchange.safe_files import first_file, plain_name
from scalecli.specs import EncoderDecoder, Weight
from scalecli.storage.files import read_bytes

FORMAT = "mesh-tensorflow"
CONFIGURATION, STATE = "operative_config.gin", "checkpoint"
_INDEX = re.compile(r"(?P<name>.+-(?P<step>\d{1,12}))\.index")
_STATE_LIMIT = 1 << 20
_STATE_PATH = re.compile(r'^\s*model_checkpoint_path:\s*"([^"\n]*)"', re.MULTILINE)
_SLOT = re.compile(r"(?P<variable>.+)_slot_\w+")
_SLOTS = {"full": "v", "rows": "vr", "columns": "vc"}
_STEP = "global_step"
_OLD_NORM = re.compile(r"/(?:final_)?layer_norm/scale\b")
_NAMED = re.compile(rf"(encoder|decoder)/(block_\d+)/({'|'.join(NAMED_LAYERS.values())})/")
_LAYER_ORDER = {
    "encoder": ("self_attention", "dense_relu_dense"),
    "decoder": ("self_attention", "enc_dec_attention", "dense_relu_dense"),
}


def recognizes(folder: Path) -> bool:
    """Whether a folder holds such checkpoints."""
    return folder.is_dir() and bool(_steps(file.name for file in folder.iterdir()))


def select_files(names: Iterable[str], step: int | None) -> list[str]:
    """Of the files in a folder those of one checkpoint, the newest if no step is asked for; none if it holds none.

    Raises:
        MissingError: there is no checkpoint of that step.
    """
    names = list(names)
    if not (steps := _steps(names)):
        return []
    name = steps[chosen_step(steps, step, "the folder")]
    beside = (CONFIGURATION, *VOCABULARIES, *((STATE,) if step is None else ()))
    return [file for file in names if file in beside or file.startswith((f"{name}.index", f"{name}.data-"))]


def read(folder: Path, *, step: int | None, optimizer: bool) -> Imported:
    """Reads one checkpoint: of `step`, or the one that the folder names as its latest.

    With `optimizer` also Adafactor's second moments, so that training goes on as it would have.

    Raises:
        MissingError: a file is not there, damaged, or names what is not beside it.
        ConfigurationError: the model can't be told or is none of these, or variables are lacking or left over.
    """
    bundle = TensorBundle.open(folder, _checkpoint(folder, step))
    try:
        return _read(folder, bundle, optimizer)
    except ConfigurationError as error:
        prefix = "" if str(folder) in str(error) else f"{folder / bundle.name}: "  # gin's errors have one
        raise ConfigurationError(f"{prefix}{error}") from None


def _read(folder: Path, bundle: TensorBundle, optimizer: bool) -> Imported:
    """What a checkpoint holds. Raises as `read` does."""
    stored = _by_new_names(bundle)
    gin = Gin.read(folder / CONFIGURATION) if (folder / CONFIGURATION).is_file() else None
    model = identify({new: bundle.variables[old].shape for new, old in stored.items()}, gin)
    spec = build_text_spec(model.architecture, model.shape)
    names = variable_names(spec)
    expected = [name for layers in names.values() for parts in layers for name in parts]
    _check_names(expected, stored, model.architecture)

    def array(name: str) -> np.ndarray:
        return bundle.read(stored[name])

    number = int(bundle.name.rpartition("-")[2])
    if _STEP in stored and array(_STEP).tolist() != number:
        raise ConfigurationError(f"its {_STEP} is {array(_STEP).tolist()}, not {number}")
    notes = list(model.notes)
    if optimizer and any(len(parts) > 1 for layers in names.values() for parts in layers):
        notes.append(
            "the original has taps and gates as variables of their own and clips the optimizer's update of each; here "
            "they are one weight, so that its next steps are not quite the original's"
        )
    beside = [name for name in (CONFIGURATION, STATE, *VOCABULARIES) if (folder / name).is_file()]
    return Imported(
        format=FORMAT,
        architecture=model.architecture,
        shape=model.shape,
        weights=weights(spec, array),
        optimizer=_state(spec, names, stored, array, number) if optimizer else None,
        step=number,
        precision=" and ".join(sorted({bundle.variables[stored[name]].dtype for name in expected})),
        files=tuple(SourceFile.of(folder, name) for name in (*bundle.files, *beside)),
        vocabulary=first_file(folder, VOCABULARIES),
        notes=tuple(notes),
    )


def weights(spec: EncoderDecoder, array: Callable[[str], np.ndarray]) -> dict[str, np.ndarray]:
    """The weights of a spec by their paths, float32, from the arrays of its variables.

    Raises:
        ConfigurationError: a variable is not of the shape that its part of a weight has.
    """
    names = variable_names(spec)
    return {path: _stacked(names[path], copies, own.shape, array) for path, (copies, own) in spec.weights().items()}


def _stacked(
    layers: Sequence[tuple[str, ...]], copies: int, shape: tuple[int, ...], array: Callable[[str], np.ndarray]
) -> np.ndarray:
    """The arrays of each layer's variables as one, [copies, ...] or, without copies, of one layer's `shape`.

    A variable may have more or fewer axes of one entry, as a convolution of one row has.
    """
    part_shape = shape if len(layers[0]) == 1 else shape[1:]
    joined = np.empty((len(layers), len(layers[0]), *part_shape), "float32")
    for layer, parts in enumerate(layers):
        for part, name in enumerate(parts):
            own = array(name)
            if [size for size in own.shape if size != 1] != [size for size in part_shape if size != 1]:
                raise ConfigurationError(
                    f"{name} is {list(own.shape)} in the checkpoint, {list(part_shape)} in the model"
                )
            joined[layer, part] = own.reshape(part_shape)
    return joined.reshape((*((copies,) if copies else ()), *shape))


def _state(
    spec: EncoderDecoder,
    names: Mapping[str, list[tuple[str, ...]]],
    stored: Mapping[str, str],
    array: Callable[[str], np.ndarray],
    step: int,
) -> dict[str, np.ndarray]:
    """Adafactor's state by our paths; vr is the second moment without the largest axis, vc without the second."""
    state = {"iterations": np.asarray(step, "int64")}
    for path, (copies, weight) in spec.weights().items():
        for kind, shape in _statistics(weight).items():
            slots = [tuple(f"{name}_slot_{_SLOTS[kind]}" for name in parts) for parts in names[path]]
            for slot in itertools.chain(*slots):
                if slot not in stored:
                    raise ConfigurationError(
                        f"the checkpoint has no {slot}, which Adafactor keeps of such a weight; leave the optimizer out"
                    )
            state[f"{path}/{kind}"] = _stacked(slots, copies, shape, array)
    return state


def _statistics(weight: Weight) -> dict[str, tuple[int, ...]]:
    """The shapes of a weight's second moments, by their kind."""
    axes = factored_axes(weight.shape)
    if axes is None:
        return {"full": weight.shape}
    rows, columns = (tuple(size for axis, size in enumerate(weight.shape) if axis != left_out) for left_out in axes)
    return {"rows": rows, "columns": columns}


def _steps(names: Iterable[str]) -> dict[int, str]:
    return {int(match["step"]): match["name"] for name in names if (match := _INDEX.fullmatch(name))}


def _checkpoint(folder: Path, step: int | None) -> str:
    """The name of the checkpoint of a step, or of the one that the folder's state names, or else the newest."""
    steps = _steps(file.name for file in folder.iterdir())
    if not steps:
        raise MissingError(f"{folder}: no checkpoint of Mesh-TensorFlow (NAME-STEP.index)")
    state = folder / STATE
    if step is not None or not state.is_file():
        return steps[chosen_step(steps, step, str(folder))]
    match = _STATE_PATH.search(read_bytes(state, _STATE_LIMIT).decode("utf-8", errors="replace"))
    if match is None:
        raise MissingError(f"{state}: names no model_checkpoint_path")
    name = plain_name(f"{match[1]}.index", folder, state).name
    if not _INDEX.fullmatch(name):
        raise MissingError(f"{state}: names {match[1]!r}, which has no step; NAME-STEP is accepted")
    return name.removesuffix(".index")


def _by_new_names(bundle: TensorBundle) -> dict[str, str]:
    """The names of the variables as they are stored, by what today's library calls them.

    Norms were called layer_norm, and the last of a stack final_layer_norm; layers may have names for their numbers.
    """

    def numbered(match: re.Match[str]) -> str:
        number = _LAYER_ORDER[match[1]].index(match[3]) if match[3] in _LAYER_ORDER[match[1]] else match[3]
        return f"{match[1]}/{match[2]}/layer_{number:03d}/" if isinstance(number, int) else match[0]

    names: dict[str, str] = {}
    for old in bundle.variables:
        new = _NAMED.sub(numbered, _OLD_NORM.sub("/rms_norm/scale", old))
        if new in names:
            raise ConfigurationError(f"{names[new]} and {old} are one variable by two names")
        names[new] = old
    return names


def _check_names(expected: Iterable[str], stored: Mapping[str, str], architecture: str) -> None:
    """Checks that the variables are those of the model, no more and no fewer, but for the optimizer's."""
    expected = set(expected)
    slots = {name for name in stored if (match := _SLOT.fullmatch(name)) and match["variable"] in expected}
    has = set(stored) - slots - {_STEP}
    for name in sorted(expected - has):
        raise ConfigurationError(f"lacks {name}, which {architecture} of this shape has{nearest(name, has)}")
    for name in sorted(has - expected):
        raise ConfigurationError(f"has {stored[name]}, which {architecture} of this shape hasn't")
