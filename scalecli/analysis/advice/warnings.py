"""What to know about a shape that can be built, but is wasteful or beyond what the papers measured. Pure Python."""

from __future__ import annotations

from collections.abc import Iterator

from scalecli.shape import Shape
from scalecli.specs import MixtureOfExperts

TPU_LANES = 128

# The sizes of both papers have from half (universal small) to 25.6 times (xxxl) d_model in all heads together.
_NARROWEST, _WIDEST = 0.5, 25.6

# What the papers' figures of an architecture are not of.
PAPER_NOTES = {
    "evolved": "the papers' counter leaves out the wide convolutions",
    "mos": (
        "the papers' mos rows have GLU's FLOPs and the parameters of 15 softmaxes, so theirs never touched the logits; "
        "these do"
    ),
}


def warnings(architecture: str, shape: Shape) -> list[str]:
    """What is wasteful in a shape, or beyond the papers' evidence, one sentence each; the papers' sizes have none."""
    return [*_of_every_architecture(shape), *_of_knobs(architecture, shape)]


def _of_every_architecture(shape: Shape) -> Iterator[str]:
    for name in ("d_model", "vocabulary"):
        width = getattr(shape, name)
        if width % TPU_LANES:
            padded = -(-width // TPU_LANES) * TPU_LANES
            yield f"{name} {width} is no multiple of {TPU_LANES}; a TPU pads it to {padded}"
    inner = shape.heads * shape.d_kv
    if not _NARROWEST <= inner / shape.d_model <= _WIDEST:
        yield (
            f"heads x d_kv is {inner}, {inner / shape.d_model:.2g} times d_model; the papers' sizes have "
            f"{_NARROWEST:g} to {_WIDEST:g} times"
        )
    if shape.shared_heads and shape.heads == 1:
        yield "shared_heads changes nothing with one head"
    if shape.decoder_layers >= 2 * shape.encoder_layers:
        yield (
            f"the decoder has {shape.decoder_layers} layers and the encoder {shape.encoder_layers}; the only uneven "
            f"model that the papers print, small-el32, is deep in the encoder (Scale Efficiently, Table 4)"
        )


def _of_knobs(architecture: str, shape: Shape) -> Iterator[str]:
    """Knobs at which an architecture does no more than the Transformer, or costs more without doing more."""
    if shape.experts == 1:
        yield "one expert leaves the router nothing to choose"
    elif shape.experts is not None:
        layer = MixtureOfExperts(shape.d_model, shape.d_ff, shape.experts)
        capacity = layer.capacity(layer.group, training=True)
        if capacity * shape.experts > layer.capacity_training * layer.group:
            yield (
                f"each of {shape.experts} experts has {capacity} places for a group of {layer.group} tokens, the "
                f"fewest that there may be: {capacity * shape.experts / layer.group:.3g} are computed a token, "
                f"{layer.capacity_training:g} with fewer experts"
            )
    if shape.recurrence == 1 and shape.recurrence_type != "act":
        yield "recurrence 1 runs the layers once, as the Transformer does"
    if shape.softmaxes == 1:
        yield "one softmax mixes nothing; its context is one more layer below the logits"
    if shape.taps == 1:
        yield f"with one tap no position of {architecture} sees its neighbours, but for cross-attention"
    if shape.funnel_blocks == 1:
        yield "one funnel block pools nothing: this is the Transformer"
    if shape.embedding_size is not None and shape.embedding_size >= shape.d_model:
        yield (
            f"embedding_size {shape.embedding_size} is no smaller than d_model {shape.d_model}; factorised like that "
            f"the embedding has more parameters than the Transformer's"
        )
