"""What LConv and DConv have in common: convolutions in the place of self-attention, in both stacks."""

from __future__ import annotations

from scalecli.architectures.skeleton import decoder_block, encoder_block, encoder_decoder, stack
from scalecli.errors import ConfigurationError
from scalecli.shape import Shape
from scalecli.specs import EncoderDecoder, LocalConvolution, Repeat


def convolutional(architecture: str, shape: Shape, dynamic: bool) -> EncoderDecoder:
    """Centred convolutions in the encoder, causal ones in the decoder; cross-attention stays.

    Raises:
        ConfigurationError: an even number of taps, which can't be centred.
    """
    assert shape.taps is not None
    if shape.taps % 2 == 0:
        raise ConfigurationError(
            f"taps is {shape.taps}; the encoder's convolutions are centred, so an odd number is accepted"
        )
    centred, causal = (LocalConvolution(shape.d_model, shape.taps, causal, dynamic) for causal in (False, True))
    encoder = Repeat(encoder_block(shape, mixing=centred), shape.encoder_layers)
    decoder = Repeat(decoder_block(shape, mixing=causal), shape.decoder_layers)
    return encoder_decoder(
        architecture,
        shape,
        encoder=stack(shape, encoder, bidirectional=True, bias_heads=()),
        decoder=stack(shape, decoder, bidirectional=False, bias_heads=()),
    )
