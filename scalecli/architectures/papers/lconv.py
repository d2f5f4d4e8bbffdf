"""Lightweight convolutions instead of self-attention (Wu et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import Knob
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import decoder_block, encoder_block, encoder_decoder, stack
from scalecli.errors import ConfigurationError
from scalecli.specs import EncoderDecoder, LocalConvolution, Repeat


def convolutional(architecture: str, dynamic: bool) -> Architecture:
    """LConv or, dynamic, DConv: convolutions instead of self-attention, in both stacks."""

    def build(shape: Shape) -> EncoderDecoder:
        """Centered convolutions in the encoder, causal ones in the decoder; cross-attention stays.

        Raises:
            ConfigurationError: an even number of taps, which cannot be centered.
        """
        if shape.taps % 2 == 0:
            raise ConfigurationError(
                f"taps is {shape.taps}; the encoder's convolutions are centered, so an odd number is accepted"
            )
        centered, causal = (LocalConvolution(shape.d_model, shape.taps, causal, dynamic) for causal in (False, True))
        encoder = Repeat(encoder_block(shape, mixing=centered), shape.encoder_layers)
        decoder = Repeat(decoder_block(shape, mixing=causal), shape.decoder_layers)
        return encoder_decoder(
            architecture,
            shape,
            encoder=stack(shape, encoder, bidirectional=True, bias_heads=()),
            decoder=stack(shape, decoder, bidirectional=False, bias_heads=()),
        )

    return Architecture(
        name=architecture,
        build=build,
        knobs=(Knob("taps", "nt", "--taps", "Taps of a convolution, an odd number."),),
        sizes=shapes_directory() / f"{architecture}.yaml",
        warnings=_warnings(architecture),
    )


def _warnings(architecture: str) -> Callable[[Shape], Iterator[str]]:
    def warnings(shape: Shape) -> Iterator[str]:
        if shape.taps == 1:
            yield f"with one tap no position of {architecture} sees its neighbors, but for cross-attention"

    return warnings


# Learned taps for each channel (Wu et al. 2019, section 3).
architecture = convolutional("lconv", dynamic=False)
