"""The Evolved Transformer: blocks found by architecture search, with convolutions beside attention (So et al. 2019)."""

from __future__ import annotations

from dataclasses import replace

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import attention, block, encoder_decoder, feed_forward, stack
from scalecli.errors import ConfigurationError
from scalecli.specs import (
    Convolution,
    ConvolutionBranch,
    EncoderDecoder,
    GatedLinearUnit,
    Parallel,
    Repeat,
    SeparableConvolution,
)


def evolved(shape: Shape) -> EncoderDecoder:
    """Evolved blocks in both stacks (So et al. 2019, Figure 3); each stands for two of the Transformer's.

    Raises:
        ConfigurationError: d_model is odd; the narrow convolutions have half of it.
    """
    width = shape.d_model
    if width % 2:
        raise ConfigurationError(f"evolved has convolutions half as wide as d_model, which is {width}; make it even")
    encoder_convolutions = ConvolutionBranch(
        width,
        left=Convolution(width, 4 * width, taps=1),
        right=Convolution(width, width // 2, taps=3),
        output=SeparableConvolution(4 * width, width // 2, taps=9),
        activated=("left", "right"),
    )
    decoder_convolutions = ConvolutionBranch(
        width,
        left=SeparableConvolution(width, 2 * width, taps=11),
        right=SeparableConvolution(width, width // 2, taps=7),
        output=SeparableConvolution(2 * width, width, taps=7),
        activated=("left",),
        causal=True,
    )
    self_attention, cross_attention = attention(shape, causal=True), attention(shape, cross=True)
    wide_attention = replace(self_attention, heads=2 * shape.heads)
    encoder_block = block(
        shape,
        gated_linear_unit=GatedLinearUnit(width),
        convolutions=encoder_convolutions,
        self_attention=attention(shape),
        feed_forward=feed_forward(shape),
    )
    decoder_block = block(
        shape,
        attentions=Parallel((("self_attention", wide_attention), ("cross_attention", cross_attention))),
        convolutions=decoder_convolutions,
        self_attention=self_attention,
        cross_attention=cross_attention,
        feed_forward=feed_forward(shape),
    )
    return encoder_decoder(
        "evolved",
        shape,
        encoder=stack(shape, Repeat(encoder_block, shape.encoder_layers), bidirectional=True),
        decoder=stack(
            shape,
            Repeat(decoder_block, shape.decoder_layers),
            bidirectional=False,
            bias_heads=(shape.heads, wide_attention.heads),
        ),
    )


architecture = Architecture(
    name="evolved",
    build=evolved,
    paper_note="the papers' counter leaves out the wide convolutions",
    layers_per_block=2,
    sizes=shapes_directory() / "evolved.yaml",
)
