"""KerasHub: the preset folder of a T5Backbone, in and out. What is read is data: no object is made from its config."""

from __future__ import annotations

import functools
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import ml_dtypes
import numpy as np

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.hugging_face.files import write_json
from scalecli.interchange.imported import Imported, from_arrays, logits_field
from scalecli.interchange.plain_t5 import ARCHITECTURE_BY_GATE, IS_GATED, check_plain
from scalecli.interchange.safe_files import plain_name, read_json, require
from scalecli.interchange.weight_map import Exported, Location, all_locations, check_only_weights, scatter
from scalecli.shape import Shape
from scalecli.specs import ModelSpec

FORMAT = "keras-hub"
_CONFIG, _METADATA, _VOCABULARY = "config.json", "metadata.json", "assets/tokenizer/vocabulary.spm"
_WEIGHTS, _INDEX = "model.weights.h5", "model.weights.json"
_BACKBONE = "keras_hub>T5Backbone"
_GELU = "keras_hub>gelu_approximate"

_SIZES = {
    **{"encoder_layers": "num_layers", "decoder_layers": "num_layers"},
    **{"d_model": "hidden_dim", "d_ff": "intermediate_dim", "d_kv": "key_value_dim", "heads": "num_heads"},
    "vocabulary": "vocabulary_size",
}
_ATTENTION = {name: f"{name}_projector" for name in ("query", "key", "value", "output")}
# With a gate the activation belongs to what KerasHub calls the input; ours belongs to the gate.
_FEED_FORWARD = {
    "transformer": {"input": "input_projector", "output": "output_projector"},
    "glu": {"gate": "input_projector", "input": "gate_projector", "output": "output_projector"},
}
_NORMS = {
    **{name: f"{name}_layer_norm" for name in ("self_attention", "cross_attention")},
    "feed_forward": "layer_norm",
}


def select_files(names: Iterable[str], step: int | None) -> list[str]:
    """Which of a folder's files make the model; none where it is not of this format."""
    present = set(names)
    if not present & {_WEIGHTS, _INDEX}:
        return []
    suffix = _WEIGHTS if _WEIGHTS in present else ".weights.h5"  # the latter is also that of shards
    return sorted(name for name in present if name in (_CONFIG, _INDEX, _VOCABULARY) or name.endswith(suffix))


def recognizes(folder: Path) -> bool:
    """Whether a folder holds weights under KerasHub's names."""
    return folder.is_dir() and bool(select_files((file.name for file in folder.iterdir()), None))


def check(architecture: str, shape: Shape) -> None:
    """Checks that T5Backbone can hold a model. Raises ConfigurationError with the reason where it cannot."""
    check_plain(architecture, shape, "KerasHub's T5Backbone")
    if shape.encoder_layers != shape.decoder_layers:
        raise ConfigurationError(
            f"KerasHub's T5Backbone has as many decoder as encoder layers; this run has {shape.encoder_layers} encoder "
            f"and {shape.decoder_layers} decoder layers"
        )


def read(folder: Path, *, step: int | None, optimizer: bool) -> Imported:
    """The model in a preset's folder: config.json, weights in one file or in shards, and the tokenizer's vocabulary.

    Raises:
        MissingError: a file is not there or damaged, or the optimizer's state was asked for.
        ConfigurationError: a model that scalecli does not have; says what is different. Or a step was asked for.
    """
    check_only_weights(folder, step, optimizer)
    architecture, shape = _read_config(folder / _CONFIG)
    vocabulary = folder / _VOCABULARY
    arrays, files = _read_weights(folder)
    kept = vocabulary if vocabulary.is_file() else None
    read_too = (folder / _CONFIG, *files, *((kept,) if kept else ()))
    return from_arrays(FORMAT, architecture, shape, locations, arrays, folder, read_too, vocabulary=kept)


def write(folder: Path, model: Exported) -> None:
    """Writes a model into an empty folder as KerasHub does it: T5Backbone.from_preset and T5Seq2SeqLM's read it.

    Raises:
        OSError: it cannot be written.
    """
    from scalecli.models.keras_settings import settle_keras

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras warns about masks that the backbone hands on in another way
        settle_keras()
        import keras
        import keras_hub

        shape, gated = model.shape, IS_GATED[model.spec.architecture]
        backbone = keras_hub.models.T5Backbone(
            **{theirs: getattr(shape, ours) for ours, theirs in _SIZES.items()},
            **({} if model.dropout is None else {"dropout": model.dropout}),
            activation=keras.saving.get_registered_object(_GELU) if gated else "relu",
            use_gated_activation=gated,
            tie_embedding_weights=model.spec.logits.weights() == {},
            dtype=model.precision,
        )
        for name, array in scatter(model, locations(model.spec)):
            _variable(backbone, name).assign(array)
        backbone.save_to_preset(str(folder))
        if model.vocabulary is not None:
            tokenizer = keras_hub.models.T5Tokenizer(proto=model.vocabulary.path.read_bytes())
            tokenizer.save_to_preset(str(folder))
    metadata = json.loads((folder / _METADATA).read_text())
    del metadata["date_saved"]  # the same export is the same bytes
    write_json(folder / _METADATA, metadata)


def locations(spec: ModelSpec) -> dict[str, Location]:
    """Where a preset's file has each weight of a plain T5; transformer layers are counted through both stacks."""
    first_layers = {"encoder": 0, "decoder": spec.encoder.repeats[0].times}
    others = {
        "embedding/table": Location(("layers/reversible_embedding/vars/0",)),
        "logits/kernel": Location(("layers/reversible_embedding/vars/1",)),
    }
    for norm, (side, layer) in enumerate(first_layers.items()):
        others[f"{side}/final_norm/scale"] = Location((f"layers/{_numbered('t5_layer_norm', norm)}/vars/0",))
        name = _numbered("t5_transformer_layer", layer)
        others[f"{side}/position_bias/table"] = Location((f"layers/{name}/self_attention/vars/0",), transposed=True)

    def in_layers(path: str, copies: int) -> Location:
        side, _, sublayer, *weight = path.split("/")
        if weight == ["norm", "scale"]:
            part = _NORMS[sublayer]
        elif sublayer == "feed_forward":
            part = _FEED_FORWARD[spec.architecture][weight[0]]
        else:
            part = f"{sublayer}/{_ATTENTION[weight[0]]}"
        layers = (_numbered("t5_transformer_layer", first_layers[side] + layer) for layer in range(copies))
        return Location(tuple(f"layers/{name}/{part}/vars/0" for name in layers))

    return all_locations(spec, others, in_layers)


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _variable(backbone: Any, name: str) -> Any:
    """The backbone's variable that its file calls `name`, such as layers/t5_transformer_layer_1/layer_norm/vars/0."""
    _, layer, *attributes, _, number = name.split("/")
    layers = {
        "reversible_embedding": [backbone.token_embedding],
        "t5_layer_norm": [backbone.encoder_layer_norm, backbone.decoder_layer_norm],
        "t5_transformer_layer": [*backbone.encoder_transformer_layers, *backbone.decoder_transformer_layers],
    }
    by_name = {_numbered(kind, n): layer for kind, of_kind in layers.items() for n, layer in enumerate(of_kind)}
    return functools.reduce(getattr, attributes, by_name[layer]).weights[int(number)]


def _read_config(file: Path) -> tuple[str, Shape]:
    values = read_json(file)
    name, config = values.get("registered_name"), values.get("config")
    if name != _BACKBONE or not isinstance(config, dict):
        raise ConfigurationError(f"{file}: registered_name is {name!r}; {_BACKBONE!r} is accepted")
    gated, activation = config.get("use_gated_activation"), config.get("activation")
    if isinstance(activation, dict):  # a function that is no part of Keras itself
        activation = activation.get("config")
    if (gated, activation) not in ((False, "relu"), (True, _GELU)):
        raise ConfigurationError(
            f"{file}: activation is {activation!r} {'with' if gated else 'without'} a gate; scalecli has 'relu' "
            f"without and {_GELU!r} with one, T5 v1's and v1.1's"
        )
    epsilon, tied = config.get("layer_norm_epsilon"), config.get("tie_embedding_weights")
    if epsilon != 1e-6:
        raise ConfigurationError(f"{file}: layer_norm_epsilon is {epsilon!r}; scalecli's T5 has 1e-6")
    if not isinstance(tied, bool):
        raise ConfigurationError(f"{file}: tie_embedding_weights is {tied!r}; true or false is accepted")
    require(config, _SIZES.values(), file)
    architecture = ARCHITECTURE_BY_GATE[bool(gated)]
    sizes = {ours: config[theirs] for ours, theirs in _SIZES.items()}
    return architecture, Shape.from_dict({**sizes, "logits": logits_field(architecture, tied)}, str(file))


def _read_weights(folder: Path) -> tuple[dict[str, np.ndarray], tuple[Path, ...]]:
    """The arrays of a preset by their names in its files, and those files, the index among them."""
    if (folder / _WEIGHTS).is_file():
        return _read_file(folder / _WEIGHTS), (folder / _WEIGHTS,)
    index = folder / _INDEX
    named = read_json(index).get("weight_map")
    if not isinstance(named, dict):
        raise ConfigurationError(f"{index}: lacks weight_map, the file of each weight")
    names = [name for value in named.values() for name in (value if isinstance(value, list) else [value])]
    files = sorted({plain_name(name, folder, index) for name in names})
    arrays: dict[str, np.ndarray] = {}
    for file in files:
        shard = _read_file(file)
        if twice := sorted(shard.keys() & arrays.keys()):
            raise MissingError(f"{file}: has {twice[0]!r}, and so has a file before it")
        arrays |= shard
    return arrays, (index, *files)


def _read_file(file: Path) -> dict[str, np.ndarray]:
    """The arrays of an HDF5 file as views of it.

    HDF5 is asked only for their offsets. What is in other files, packed or was never written has no offset, so that
    what a file declares takes no memory.
    """
    arrays: dict[str, np.ndarray] = {}

    def visit(name: str, item: Any) -> None:
        if not isinstance(item, h5py.Dataset):
            return
        dtype = item.dtype
        if dtype.kind == "V" and str(item.attrs.get("dtype")) == "bfloat16":  # HDF5 has no such type
            dtype = np.dtype(ml_dtypes.bfloat16)
        elif dtype.kind != "f":
            raise MissingError(f"{file}: {name!r} is {dtype}, no weight")
        offset = item.id.get_offset()
        if offset is None or not item.size:
            raise MissingError(f"{file}: the numbers of {name!r} are not in this file, or packed")
        arrays[name] = np.memmap(file, dtype, "r", offset, item.shape)

    try:
        with h5py.File(file, "r") as opened:
            opened.visititems(visit)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError) as error:
        raise MissingError(f"{file}: not an HDF5 file, or a damaged one ({error})") from error
    return arrays
