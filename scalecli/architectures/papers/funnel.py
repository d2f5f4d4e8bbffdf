"""Funnel Transformer: an encoder in blocks, each of which halves the length (Dai et al. 2020)."""

from __future__ import annotations

from collections.abc import Iterator

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import Knob
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import encoder_block, encoder_decoder, stack
from scalecli.errors import ConfigurationError
from scalecli.specs import Block, EncoderDecoder, Pooling, Repeat


def funnel(shape: Shape) -> EncoderDecoder:
    """Each block after the first pools the residual stream behind its first self-attention.

    The layers are spread evenly over the blocks, those that are left over to the first ones; the decoder is the
    Transformer's, and attends to the pooled positions.

    Raises:
        ConfigurationError: more blocks than encoder layers.
    """
    blocks, layers = shape.funnel_blocks, shape.encoder_layers
    if blocks > layers:
        raise ConfigurationError(
            f"funnel_blocks is {blocks} and encoder_layers {layers}; each block takes at least one layer"
        )
    plain = encoder_block(shape)
    first, *rest = plain.sublayers
    pooling = Block((first, Pooling(), *rest))
    repeats: list[Repeat] = []
    for number in range(blocks):
        depth = layers // blocks + (number < layers % blocks)
        if number > 0:
            repeats.append(Repeat(pooling, 1))
            depth -= 1
        if depth:
            repeats.append(Repeat(plain, depth))
    return encoder_decoder("funnel", shape, encoder=stack(shape, *repeats, bidirectional=True))


def warnings(shape: Shape) -> Iterator[str]:
    """One block pools nothing."""
    if shape.funnel_blocks == 1:
        yield "one funnel block pools nothing: this is the Transformer"


architecture = Architecture(
    name="funnel",
    build=funnel,
    knobs=(Knob("funnel_blocks", "fb", "--funnel-blocks", "Blocks of the encoder; all but the first pool."),),
    sizes=shapes_directory() / "funnel.yaml",
    warnings=warnings,
)
