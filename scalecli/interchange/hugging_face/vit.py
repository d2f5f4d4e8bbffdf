"""Hugging Face's ViTForImageClassification, in and out. Neither way needs torch or transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from scalecli.errors import ConfigurationError, MissingError
from scalecli.interchange.hugging_face.files import CONFIG, FORMAT, write_json, write_weights
from scalecli.interchange.imported import Imported, from_arrays
from scalecli.interchange.plain_t5 import check_own_keys_and_values
from scalecli.interchange.safe_files import read_weights, require
from scalecli.interchange.weight_map import Exported, Location, all_locations
from scalecli.shape import Shape
from scalecli.specs import EncoderOnly

MODEL_TYPE = "vit"
_PROCESSOR = "preprocessor_config.json"

_SIZES = {
    "encoder_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "d_ff": "intermediate_size",
    "heads": "num_attention_heads",
    "image_size": "image_size",
    "patch_size": "patch_size",
}
# What ViTConfig has where a file says nothing; the first three are the only ones that ours can have.
_DEFAULTS = {"qkv_bias": True, "num_channels": 3, "model_type": MODEL_TYPE, "image_size": 224, "patch_size": 16}
_NUMERICS = {  # hidden_act and layer_norm_eps
    None: ("gelu_pytorch_tanh", 1e-6),
    "transformers": ("gelu", 1e-12),
}
_TANH_GELU = ("gelu_pytorch_tanh", "gelu_new", "gelu_fast")  # the same function

_ENDS = {
    "embedding/bias": "vit.embeddings.patch_embeddings.projection.bias",
    "encoder/final_norm/scale": "vit.layernorm.weight",
    "encoder/final_norm/bias": "vit.layernorm.bias",
    "logits/bias": "classifier.bias",
}
_KERNEL, _HEAD = "vit.embeddings.patch_embeddings.projection.weight", "classifier.weight"
_SUBLAYERS = {
    "self_attention": {
        "norm": "layernorm_before",
        **{name: f"attention.attention.{name}" for name in ("query", "key", "value")},
        "output": "attention.output.dense",
    },
    "feed_forward": {"norm": "layernorm_after", "input": "intermediate.dense", "output": "output.dense"},
}


def check(architecture: str, shape: Shape) -> None:
    """Checks that ViTForImageClassification can hold a model of images.

    Raises:
        ConfigurationError: it cannot; says why.
    """
    holder = "Hugging Face's ViT"
    check_own_keys_and_values(shape, holder)
    if shape.heads * shape.d_kv != shape.d_model:
        raise ConfigurationError(
            f"{holder} divides d_model among its heads; this run's d_model is {shape.d_model}, and it has "
            f"{shape.heads} heads of {shape.d_kv}"
        )


def read(folder: Path, config: dict[str, Any]) -> Imported:
    """The model in a folder whose configuration is `config`.

    Raises:
        MissingError: a file is not there or damaged.
        ConfigurationError: a model that scalecli does not have; says what is different.
    """
    file = folder / CONFIG
    numerics = _check_config(config, file)
    arrays, files = read_weights(folder)
    if _HEAD not in arrays:
        raise MissingError(f"{folder}: lacks {_HEAD!r}; a ViTForImageClassification has it")
    shape = _shape(config, numerics, arrays[_HEAD].shape[0], file)
    return from_arrays(FORMAT, "vit", shape, locations, arrays, folder, (file, *files))


def write(folder: Path, model: Exported) -> None:
    """Writes a model into an empty folder: configuration, weights, and how images are to be prepared.

    Raises:
        OSError, safetensors.SafetensorError: it cannot be written.
    """
    shape = model.shape
    assert shape.classes is not None and shape.image_size is not None
    activation, epsilon = _NUMERICS[shape.numerics]
    names = [*model.classes, *(f"LABEL_{number}" for number in range(len(model.classes), shape.classes))]
    labels = {str(number): name for number, name in enumerate(names)}
    dropout = 0.0 if model.dropout is None else model.dropout
    config = {
        "architectures": ["ViTForImageClassification"],
        **_DEFAULTS,
        **{theirs: getattr(shape, ours) for ours, theirs in _SIZES.items()},
        **{"hidden_act": activation, "layer_norm_eps": epsilon},
        **{"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout},
        **{"id2label": labels, "label2id": {name: int(number) for number, name in labels.items()}},
        "torch_dtype": model.precision,
    }
    write_json(folder / CONFIG, config)
    # Pixels from -1 to 1.
    halves = [0.5] * 3
    processor = {
        **{"image_processor_type": "ViTImageProcessor", "do_resize": True, "do_rescale": True, "do_normalize": True},
        **{"size": {"height": shape.image_size, "width": shape.image_size}, "resample": 2},
        **{"rescale_factor": 1 / 255, "image_mean": halves, "image_std": halves},
    }
    write_json(folder / _PROCESSOR, processor)
    assert isinstance(model.spec, EncoderOnly)
    write_weights(folder, model, locations(model.spec))


def locations(spec: EncoderOnly) -> dict[str, Location]:
    """Where ViTForImageClassification has each weight; its linear layers are [outputs, inputs].

    Its patches come from a convolution [d_model, colors, rows, columns].
    """
    embedding = spec.embedding
    width, side = embedding.d_model, embedding.patch_size
    others = {
        **{path: Location((name,)) for path, name in _ENDS.items()},
        "embedding/kernel": Location((_KERNEL,), shape=(width, 3, side, side), axes=(2, 3, 1, 0)),
        "embedding/class_token": Location(("vit.embeddings.cls_token",), shape=(1, 1, width)),
        "embedding/positions": Location(
            ("vit.embeddings.position_embeddings",), shape=(1, embedding.patches + 1, width)
        ),
        "logits/kernel": Location((_HEAD,), transposed=True),
    }

    def in_layers(path: str, copies: int) -> Location:
        _, _, sublayer, *rest = path.split("/")
        module, kind = _module(rest)
        names = (f"vit.encoder.layer.{layer}.{_SUBLAYERS[sublayer][module]}.{kind}" for layer in range(copies))
        return Location(tuple(names), transposed=module != "norm" and kind == "weight")

    return all_locations(spec, others, in_layers)


def _module(parts: list[str]) -> tuple[str, str]:
    """Our name of a module, and whether its `weight` or its `bias` is meant: `norm/scale`, `query`, `query_bias`."""
    name = parts[0].removesuffix("_bias")
    return name, "bias" if parts[-1].endswith("bias") else "weight"


def _check_config(config: dict[str, Any], file: Path) -> str | None:
    """The numerics of the model."""
    for key in ("qkv_bias", "num_channels"):
        if (stated := config.get(key, _DEFAULTS[key])) != _DEFAULTS[key]:
            raise ConfigurationError(f"{file}: {key} is {stated!r}; scalecli's ViT has {_DEFAULTS[key]!r}")
    if config.get("quantization_config") is not None:
        raise ConfigurationError(f"{file}: has a quantization_config; scalecli's ViT has float weights")
    activation, epsilon = config.get("hidden_act", "gelu"), config.get("layer_norm_eps", 1e-12)
    stated = _TANH_GELU[0] if activation in _TANH_GELU else activation
    for numerics, accepted in _NUMERICS.items():
        if (stated, epsilon) == accepted:
            return numerics
    pairs = " or ".join(f"{name!r} with {number:g}" for name, number in _NUMERICS.values())
    raise ConfigurationError(
        f"{file}: hidden_act is {activation!r} and layer_norm_eps {epsilon!r}; scalecli's ViT has {pairs}"
    )


def _shape(config: dict[str, Any], numerics: str | None, classes: int, file: Path) -> Shape:
    config = {**_DEFAULTS, **config}
    require(config, _SIZES.values(), file)
    sizes = {ours: config[theirs] for ours, theirs in _SIZES.items()}
    heads, width = sizes["heads"], sizes["d_model"]
    if type(heads) is not int or type(width) is not int or heads < 1 or width % heads:
        raise ConfigurationError(f"{file}: {heads!r} attention heads can't divide a hidden_size of {width!r}")
    shape = {**sizes, "d_kv": width // heads, "classes": classes, "numerics": numerics}
    return Shape.from_dict(shape, str(file))
