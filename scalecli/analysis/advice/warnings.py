"""What to know about a shape that can be built, but is wasteful or beyond what the papers measured. Pure Python."""

from __future__ import annotations

from collections.abc import Iterator

from scalecli.architectures import Shape, named
from scalecli.architectures.loading import warned

TPU_LANES = 128

# The sizes of both papers have from half (universal small) to 25.6 times (xxxl) d_model in all heads together.
_NARROWEST, _WIDEST = 0.5, 25.6


def warnings(architecture: str, shape: Shape) -> list[str]:
    """What is wasteful in a shape, or beyond the papers' evidence, one sentence each; the papers' sizes have none."""
    declared = named(architecture)
    return [*_general_warnings(shape), *warned(declared, declared.complete(shape))]


def _general_warnings(shape: Shape) -> Iterator[str]:
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
