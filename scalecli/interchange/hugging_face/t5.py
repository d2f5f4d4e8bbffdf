"""Hugging Face: the folder of a T5ForConditionalGeneration, in and out. Neither way needs torch or transformers.

An MT5ForConditionalGeneration is read, too.

The folder of a ViTForImageClassification is recognized here; `vit` reads and writes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.hugging_face import vit as vit_hugging_face
from scalecli.interchange.hugging_face.files import CONFIG, FORMAT, write_json, write_weights
from scalecli.interchange.hugging_face.tokenizer import SENTENCEPIECE_FILE, TOKENIZER_FILE, write_tokenizer
from scalecli.interchange.imported import Imported, from_arrays, logits_field
from scalecli.interchange.plain_t5 import ARCHITECTURE_BY_GATE, FEED_FORWARD, IS_GATED, check_plain
from scalecli.interchange.safe_files import WEIGHT_FILES, first_file, read_json, read_weights, require
from scalecli.interchange.weight_map import Exported, Location, all_locations, check_only_weights
from scalecli.shape import Shape
from scalecli.specs import ModelSpec

# Of the configuration: what all our models have, and T5Config has too where it says nothing else.
_CONSTANT = {
    "model_type": "t5",
    "is_encoder_decoder": True,
    "relative_attention_num_buckets": 32,
    "relative_attention_max_distance": 128,
    "layer_norm_epsilon": 1e-6,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
_SIZES = {
    "encoder_layers": "num_layers",
    "decoder_layers": "num_decoder_layers",
    "d_model": "d_model",
    "d_ff": "d_ff",
    "d_kv": "d_kv",
    "heads": "num_heads",
    "vocabulary": "vocab_size",
}
_GATED = {"relu": False, "gated-gelu": True}
_PROJECTION = {"t5": "relu", "mt5": "gated-gelu"}  # where the configuration says nothing; mT5 is a T5 v1.1
_ACTIVATION = {False: "relu", True: "gelu_new"}

_EMBEDDING, _LOGITS = "shared.weight", "lm_head.weight"
_SAME_AS_EMBEDDING = ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight")
_UNUSED = "decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"  # of early files; nothing reads it
_MODULES = {"self_attention": "SelfAttention", "cross_attention": "EncDecAttention", "feed_forward": "DenseReluDense"}
_ATTENTION = {"query": "q", "key": "k", "value": "v", "output": "o"}


def select_files(names: Iterable[str], step: int | None) -> list[str]:
    """Which of a folder's files make the model; none where it is not of this format."""
    present = set(names)
    weights = next((name for name in WEIGHT_FILES if name in present), None)
    if weights is None:
        return []
    shards = weights.split(".")[1] if weights.endswith(".json") else None  # the suffix of theirs
    others = (CONFIG, weights, SENTENCEPIECE_FILE, TOKENIZER_FILE)
    return sorted(name for name in present if name in others or (shards and name.endswith(f".{shards}")))


def recognizes(folder: Path) -> bool:
    """Whether a folder holds weights under Hugging Face's names."""
    return folder.is_dir() and bool(select_files((file.name for file in folder.iterdir()), None))


def check(architecture: str, shape: Shape) -> None:
    """Checks that T5ForConditionalGeneration can hold a model. Raises ConfigurationError where it cannot."""
    check_plain(architecture, shape, "Hugging Face's T5")


def read(folder: Path, *, step: int | None, optimizer: bool) -> Imported:
    """The model in a folder: config.json, weights in one file or in shards, and spiece.model, else tokenizer.json.

    Raises:
        MissingError: a file is not there or damaged, or the optimizer's state was asked for.
        ConfigurationError: a model that scalecli does not have; says what is different. Or a step was asked for.
    """
    check_only_weights(folder, step, optimizer)
    config = read_json(folder / CONFIG)
    if config.get("model_type") == vit_hugging_face.MODEL_TYPE:
        return vit_hugging_face.read(folder, config)
    gated, scaled = _check_config(config, folder / CONFIG)
    arrays, files = read_weights(folder)
    arrays, tied, notes = _with_one_embedding(arrays, scaled, folder)
    architecture = ARCHITECTURE_BY_GATE[gated]
    shape = _shape(config, logits_field(architecture, tied), folder / CONFIG)
    vocabulary = first_file(folder, (SENTENCEPIECE_FILE, TOKENIZER_FILE))
    read_too = [folder / CONFIG, *files, *((vocabulary,) if vocabulary else ())]
    more = {"vocabulary": vocabulary, "notes": notes}
    return from_arrays(FORMAT, architecture, shape, locations, arrays, folder, read_too, **more)


def write(folder: Path, model: Exported) -> None:
    """Writes a model into an empty folder: configuration, weights, and the tokenizer where there is a vocabulary.

    Raises:
        ConfigurationError: the tokenizer can't be had there.
        OSError, safetensors.SafetensorError: it cannot be written.
    """
    if model.vocabulary is not None:
        write_tokenizer(folder, model.vocabulary)
    shape, gated = model.shape, IS_GATED[model.spec.architecture]
    sizes = {theirs: getattr(shape, ours) for ours, theirs in _SIZES.items()}
    activation = {value: key for key, value in _GATED.items()}[gated]
    config = {
        "architectures": ["T5ForConditionalGeneration"],
        **_CONSTANT,
        **sizes,
        **{"feed_forward_proj": activation, "dense_act_fn": _ACTIVATION[gated], "is_gated_act": gated},
        # Tied are also scaled, untied are not: this one key says both.
        "tie_word_embeddings": model.spec.logits.weights() == {},
        **({} if model.dropout is None else {"dropout_rate": model.dropout}),
        "torch_dtype": model.precision,
    }
    if shape.decoder_layers > shape.encoder_layers:
        # Some versions (5.23 is one) make the decoder's cache for num_layers, unless there is this key.
        config["decoder_layers"] = shape.decoder_layers
    write_json(folder / CONFIG, config)
    special = {key: value for key, value in _CONSTANT.items() if key.endswith("token_id")}
    write_json(folder / "generation_config.json", special)
    write_weights(folder, model, locations(model.spec))


def locations(spec: ModelSpec) -> dict[str, Location]:
    """Where T5ForConditionalGeneration has each weight of a plain T5; its linear layers are [outputs, inputs]."""
    bias = "block.0.layer.0.SelfAttention.relative_attention_bias.weight"
    others = {"embedding/table": Location((_EMBEDDING,)), "logits/kernel": Location((_LOGITS,), transposed=True)}
    for side in spec.stacks():
        others[f"{side}/final_norm/scale"] = Location((f"{side}.final_layer_norm.weight",))
        others[f"{side}/position_bias/table"] = Location((f"{side}.{bias}",), transposed=True)

    def in_layers(path: str, copies: int) -> Location:
        side, _, sublayer, *weight = path.split("/")
        number = [step.name for step in spec.stacks()[side].repeats[0].block.residuals()].index(sublayer)
        if weight == ["norm", "scale"]:
            name = "layer_norm"
        else:
            parts = FEED_FORWARD[spec.architecture] if sublayer == "feed_forward" else _ATTENTION
            name = f"{_MODULES[sublayer]}.{parts[weight[0]]}"
        names = (f"{side}.block.{layer}.layer.{number}.{name}.weight" for layer in range(copies))
        return Location(tuple(names), transposed=name != "layer_norm")

    return all_locations(spec, others, in_layers)


def _check_config(config: dict[str, Any], file: Path) -> tuple[bool, bool]:
    """Whether the feed-forward layers are gated, and the logits scaled."""
    kind = config.get("model_type", _CONSTANT["model_type"])
    if kind not in _PROJECTION:
        raise ConfigurationError(f"{file}: model_type is {kind!r}; {' and '.join(_PROJECTION)} are accepted")
    projection = config.get("feed_forward_proj", _PROJECTION[kind])
    if projection not in _GATED:
        raise ConfigurationError(
            f"{file}: feed_forward_proj is {projection!r}; scalecli has {' and '.join(_GATED)}, T5 v1's and v1.1's"
        )
    gated = _GATED[projection]
    gate = {"dense_act_fn": _ACTIVATION[gated], "is_gated_act": gated}
    expected = {**_CONSTANT, "model_type": kind, **gate, "quantization_config": None}
    for key, value in expected.items():
        stated = config.get(key)
        if stated is not None and stated != value:
            raise ConfigurationError(f"{file}: {key} is {stated!r}; scalecli's T5 has {value!r}")
    # Versions 5 and up have a key of their own for what tie_word_embeddings said alone before; their mT5 is not scaled.
    scaled = config.get("scale_decoder_outputs", config.get("tie_word_embeddings", kind == "t5"))
    if not isinstance(scaled, bool):
        raise ConfigurationError(f"{file}: tie_word_embeddings is {scaled!r}; true or false is accepted")
    unscaled = kind == "mt5" and not str(config.get("transformers_version")).startswith(("3.", "4."))
    return gated, scaled and not unscaled


def _shape(config: dict[str, Any], logits: str | None, file: Path) -> Shape:
    sizes = {**config, "num_decoder_layers": config.get("num_decoder_layers") or config.get("num_layers")}
    require(sizes, _SIZES.values(), file)
    return Shape.from_dict({**{ours: sizes[theirs] for ours, theirs in _SIZES.items()}, "logits": logits}, str(file))


def _with_one_embedding(
    arrays: dict[str, np.ndarray], scaled: bool, folder: Path
) -> tuple[dict[str, np.ndarray], bool, tuple[str, ...]]:
    """The arrays with the embedding under one name and logits only where they are untied; whether tied; notes."""
    names = [name for name in (_EMBEDDING, *_SAME_AS_EMBEDDING) if name in arrays]
    if not names:
        raise MissingError(f"{folder}: lacks {_EMBEDDING!r}")
    embedding = arrays[names[0]]
    for name in names[1:]:
        if not _same(arrays[name], embedding):
            raise ConfigurationError(f"{folder}: {name!r} is not {names[0]!r}; scalecli's stacks share their embedding")
    notes: tuple[str, ...] = ()
    if _UNUSED in arrays:
        notes = (f"{_UNUSED} is left out: transformers doesn't use it",)
    rest = {name: array for name, array in arrays.items() if name not in (*names, _UNUSED)}
    own = _LOGITS in rest and not _same(rest[_LOGITS], embedding)
    if scaled and own:
        raise ConfigurationError(
            f"{folder}: {_LOGITS!r} is not {names[0]!r}, though {CONFIG} says that they are tied; scalecli scales the "
            "logits only where they are"
        )
    if scaled:
        rest.pop(_LOGITS, None)
    elif not own:
        rest[_LOGITS] = embedding
        notes = (*notes, "the logits are the embedding, unscaled: the run has a copy of it as logits of their own")
    return {_EMBEDDING: embedding, **rest}, scaled, notes


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
