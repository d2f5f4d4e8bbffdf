"""Which model a Mesh-TensorFlow checkpoint is of: found in its variables, and checked against its gin configuration."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from scalecli.errors import ConfigurationError
from scalecli.interchange.imported import logits_field
from scalecli.interchange.mesh_tensorflow.gin import Gin, Reference
from scalecli.shape import Shape

# What only one architecture has among its variables; the first that is found counts.
_MARKS = {
    "switch": "/MoE1D/",
    "dconv": "/dyn_conv_depthwise_dense_",
    "lconv": "/lightwt_depthwise_dense_",
    "evolved": "ConvolutionalLayer/",
    "universal": "/layer_prepostprocess/",
    "funnel": "/funnel_block_",
    "albert": "shared/embedding1",
    "mos": "shared/embedding_mixture_weights",
    "glu": "/DenseReluDense/wi_0/",
}
# gin's word for a field of the shape: whose parameter, its name, and in which stacks.
_FIELDS = (
    ("d_model", "Unitransformer", "d_model"),
    ("d_ff", "DenseReluDense", "hidden_size"),
    ("d_ff", "MoE1D", "hidden_size"),
    ("d_kv", "SelfAttention", "key_value_size"),
    ("d_kv", "EncDecAttention", "key_value_size"),
    ("heads", "SelfAttention", "num_heads"),
    ("heads", "EncDecAttention", "num_heads"),
    ("experts", "MoE1D", "num_experts"),
)
# What the models here are: other values make another model of the same variables.
_BEHAVIOR: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("SelfAttention", "relative_attention_type", ("bias_shared", None)),
    ("SelfAttention", "attention_func", (None,)),
    ("SelfAttention", "relative_attention_num_buckets", (32, None)),
    ("EncDecAttention", "relative_attention_type", (None,)),
    ("Unitransformer", "positional_embedding", (False, None)),
    ("Unitransformer", "sinusoid_positional_embedding", (False, None)),
    ("Unitransformer", "input_full_attention", (False, None)),
    ("sublayer_rms_norm", "epsilon", (1e-6, None)),
    ("VocabEmbedding", "scale_variable_like_classifier_weights", (False, None)),
)
_STACKS = ("encoder", "decoder")


@dataclass(frozen=True)
class Identified:
    """The architecture and the shape of a checkpoint's model, and what a reader should know about it."""

    architecture: str
    shape: Shape
    notes: tuple[str, ...]


def identify(shapes: Mapping[str, tuple[int, ...]], gin: Gin | None) -> Identified:
    """The model that the variables are of, by their names and shapes; `gin` says what they don't.

    Raises:
        ConfigurationError: it can't be told, the configuration says something else, or there is no such model here.
    """
    marked = (name for name, mark in _MARKS.items() if any(mark in variable for variable in shapes))
    architecture = next(marked, "transformer")
    variables = _Variables(shapes)
    notes = [] if gin else ["no operative_config.gin lies beside it; the shape is that of its variables"]
    shared = not any(name.startswith("encoder/") for name in shapes)
    if shared:
        if architecture not in ("transformer", "albert"):
            raise ConfigurationError(f"the checkpoint has no variable of an encoder, and {architecture} needs them")
        notes.append("encoder and decoder share their parameters: there are variables of the decoder only")
    width, embedding_size = variables.embedding()
    unknown = "the variables don't tell heads"
    heads = variables.heads() or _from_gin(gin, "SelfAttention", "num_heads", "decoder", unknown)
    inner = variables.shape(r"decoder/.*/(enc_dec_attention|EncDecAttention)/q")[-1]
    if inner < heads or inner % heads:
        raise ConfigurationError(f"the checkpoint's queries are {inner} wide, which {heads} heads can't share")
    shared_heads, tied = variables.key_values(inner, inner // heads, heads)
    if shared_heads:
        notes.append("one key and one value head serve all query heads")
    counted = {side: variables.blocks("decoder" if shared else side, architecture) for side in _STACKS}
    blocks = {side: count or _blocks(gin, side) for side, count in counted.items()}
    layers_of_block = 2 if architecture == "switch" else 1
    shape = Shape(
        encoder_layers=layers_of_block * blocks["encoder"],
        decoder_layers=layers_of_block * blocks["decoder"],
        d_model=width,
        d_ff=variables.shape(r".*/DenseReluDense/wi(_1)?/kernel")[-1],
        d_kv=inner // heads,
        heads=heads,
        vocabulary=variables.shape(r"shared/embedding(1|_embedding_weights)?")[0],
        shared_heads=shared_heads,
        tied_key_values=tied,
    )
    shape = replace(shape, **_knobs(architecture, variables, gin, embedding_size, shared))
    if gin:
        _check(gin, architecture, shape, blocks)
    return Identified(architecture, shape, tuple(notes))


class _Variables:
    def __init__(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._shapes = shapes

    def shape(self, pattern: str) -> tuple[int, ...]:
        """The shape of the first variable of that name. Raises ConfigurationError when there is none."""
        for name, shape in self._shapes.items():
            if shape and re.fullmatch(pattern, name):
                return shape
        readable = pattern.replace("\\", "")
        raise ConfigurationError(f"the checkpoint has no variable {readable}; it is of no model that is known here")

    def has(self, pattern: str) -> bool:
        """Whether a variable has that name."""
        return any(re.fullmatch(pattern, name) for name in self._shapes)

    def numbers(self, pattern: str) -> set[str]:
        """What the group of a pattern stands for, over all variables."""
        return {match[1] for name in self._shapes if (match := re.match(pattern, name))}

    def embedding(self) -> tuple[int, int | None]:
        """d_model, and the width of a factorized embedding."""
        if self.has("shared/embedding1"):
            return self.shape("shared/embedding2")[-1], self.shape("shared/embedding1")[-1]
        return self.shape("shared/embedding(_embedding_weights)?")[-1], None

    def heads(self) -> int | None:
        """Heads of the decoder's self-attention, which its table of relative positions has a row for each of."""
        tables = r"decoder/.*/SelfAttention/relative_attention_bias"
        return self.shape(tables)[0] if self.has(tables) else None

    def key_values(self, inner: int, d_kv: int, heads: int) -> tuple[bool, bool]:
        """Whether one head of keys serves all queries, and whether keys are the values."""
        cross = r"decoder/.*/(?:enc_dec_attention|EncDecAttention)/"
        tied = self.has(f"{cross}kv")
        width = self.shape(f"{cross}{'kv' if tied else 'k'}")[-1]
        if width not in (inner, d_kv):
            raise ConfigurationError(
                f"the checkpoint has keys of width {width}, {width / d_kv:g} heads for {heads} of queries "
                "(num_memory_heads); one for all, or one for each, is accepted"
            )
        return width != inner, tied

    def blocks(self, side: str, architecture: str) -> int:
        """Blocks of a stack that its variables count."""
        if architecture == "funnel" and side == "encoder":
            return len(self.numbers(r"encoder/(funnel_block_\d+/param_idx_\d+)/"))
        return len(self.numbers(rf"{side}/block_(\d+)/"))


def _knobs(
    architecture: str, variables: _Variables, gin: Gin | None, embedding_size: int | None, shared: bool
) -> dict[str, Any]:
    """The fields of the shape that only some architectures have."""
    if architecture == "switch":
        return {"experts": variables.shape(".*/MoE1D/wi/kernel")[0]}
    if architecture in ("lconv", "dconv"):
        return {"taps": len(variables.numbers(r"encoder/.*/(?:lightwt|dyn_conv)_depthwise_dense_(\d+)/kernel"))}
    if architecture == "funnel":
        return {"funnel_blocks": len(variables.numbers(r"encoder/funnel_block_(\d+)/"))}
    if architecture == "albert":
        return {"embedding_size": embedding_size, "shared_stacks": shared}
    if architecture == "mos":
        return {"softmaxes": variables.shape("shared/embedding_mixture_weights")[0]}
    if architecture == "universal":
        return _recurrence(variables, gin)
    if architecture in ("transformer", "glu"):
        tied = not variables.has("decoder/logits/kernel")
        return {"logits": logits_field(architecture, tied), "shared_stacks": shared or None}
    return {}


def _recurrence(variables: _Variables, gin: Gin | None) -> dict[str, Any]:
    """The kind of a recurrence, which its variables tell, and its steps, which only a highway's do."""
    if steps := len(variables.numbers(r"encoder/(dense(?:_\d*[02468])?)/kernel")):
        return {"recurrence_type": "highway", "recurrence": steps}
    kind = "gated" if variables.has(".*/SelfAttention/dense/kernel") else "basic"
    parameter = "num_rec_steps"
    if variables.has(".*/sigmoid_activation_for_pondering/.*"):
        kind, parameter = "act", "act_max_steps"
    steps = _from_gin(gin, "UTLayerStack", parameter, "encoder", "the variables don't tell the steps of the recurrence")
    return {"recurrence_type": kind, "recurrence": steps}


def _from_gin(gin: Gin | None, configurable: str, parameter: str, scope: str, why: str) -> int:
    value = gin.get(configurable, parameter, scope) if gin else None
    if type(value) is not int or value < 1:
        where = f"{gin.path} has " if gin else "there is no operative_config.gin with "
        stands = f"{value!r} for it" if value is not None else "nothing for it" if gin else "it"
        raise ConfigurationError(f"{why}; {configurable}.{parameter} does, and {where}{stands}")
    return value


def _blocks(gin: Gin | None, side: str) -> int:
    """Layers of a stack whose variables are the same for all."""
    return _from_gin(gin, "make_layer_stack", "num_layers", side, f"the variables don't tell the layers of the {side}")


def _check(gin: Gin, architecture: str, shape: Shape, blocks: Mapping[str, int]) -> None:
    """Checks every statement of the configuration that is about the model."""

    def check(scope: str, configurable: str, parameter: str, accepted: Iterable[Any], why: str) -> None:
        value = gin.get(configurable, parameter, scope)
        value = value.text if isinstance(value, Reference) else value
        if value not in accepted:
            raise ConfigurationError(f"{gin.path}: {scope}/{configurable}.{parameter} is {value!r}, and {why}")

    for scope in _STACKS:
        for field, configurable, parameter in _FIELDS:
            number = getattr(shape, field)
            check(scope, configurable, parameter, (number, None), f"the variables say {number}")
        check(scope, "make_layer_stack", "num_layers", (blocks[scope], None), f"there are {blocks[scope]} blocks")
        memory_heads = (1,) if shape.shared_heads else (0, shape.heads, None)
        why = f"the variables say {'one head' if shape.shared_heads else 'all heads'}"
        check(scope, "SelfAttention", "num_memory_heads", memory_heads, why)
        tied = (True,) if shape.tied_key_values else (False, None)
        check(scope, "SelfAttention", "shared_kv", tied, f"there are variables for {'both' if tied[0] else 'each'}")
        activations: tuple[Any, ...] = ("relu", ["relu"], None)
        if architecture == "glu":
            activations = (["gelu", "linear"], ("gelu", "linear"))
        check(scope, "DenseReluDense", "activation", activations, f"{architecture} has {activations[0]} here")
        for configurable, parameter, accepted in _BEHAVIOR:
            if (
                parameter == "relative_attention_type"
                and configurable == "SelfAttention"
                and not _has_bias(architecture)
            ):
                continue
            check(scope, configurable, parameter, accepted, f"the models here have {accepted[0]!r}")
        tied_logits = architecture != "glu" if shape.logits is None else shape.logits == "tied"
        why = f"there is {'no' if tied_logits else 'a'} variable of logits"
        check("decoder", "Unitransformer", "shared_embedding_and_softmax_weights", (tied_logits, None), why)


def _has_bias(architecture: str) -> bool:
    """Whether self-attention has relative positions: where convolutions take its place there is none."""
    return architecture not in ("lconv", "dconv")
