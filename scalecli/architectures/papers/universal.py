"""The Universal Transformer: the same layers run several times over, adaptively (Dehghani et al. 2019)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import Knob
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import decoder_block, encoder_block, encoder_decoder, stack
from scalecli.specs import Block, EncoderDecoder, LayerNorm, Recurrence, Repeat, Stack, TransformGates


def universal(shape: Shape) -> EncoderDecoder:
    """`encoder_layers` and `decoder_layers` are the layers inside the recurrence, each with weights of its own.

    Norms are layer norms with bias. The recurrence type `gated` has gates on the output of each sublayer, and otherwise
    is `basic`.
    """
    kind = shape.recurrence_type
    gates = TransformGates(shape.d_model) if kind == "gated" else None
    norm = LayerNorm(shape.d_model)
    recurrence = Recurrence(
        shape.d_model, shape.recurrence, "act" if kind == "act" else "highway" if kind == "highway" else "basic"
    )

    def recurrent(block: Block, layers: int, bidirectional: bool) -> Stack:
        sublayers = tuple(replace(residual, norm=norm, gates=gates) for residual in block.residuals())
        plain = stack(shape, Repeat(Block(sublayers), layers), bidirectional=bidirectional)
        return replace(plain, final_norm=norm, recurrence=recurrence)

    return encoder_decoder(
        "universal",
        shape,
        encoder=recurrent(encoder_block(shape), shape.encoder_layers, bidirectional=True),
        decoder=recurrent(decoder_block(shape), shape.decoder_layers, bidirectional=False),
    )


def warnings(shape: Shape) -> Iterator[str]:
    """Without adaptive time one step is no recurrence."""
    if shape.recurrence == 1 and shape.recurrence_type != "act":
        yield "recurrence 1 runs the layers once, as the Transformer does"


architecture = Architecture(
    name="universal",
    build=universal,
    knobs=(
        Knob("recurrence", "nr", "--recurrence", "Recurrent steps; act makes one pass more."),
        Knob(
            "recurrence_type",
            "rt",
            "--recurrence-type",
            "How its passes are put together.",
            ("act", "basic", "highway", "gated"),
        ),
    ),
    sizes=shapes_directory() / "universal.yaml",
    warnings=warnings,
)
