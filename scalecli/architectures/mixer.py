"""MLP-Mixer: the encoder mixes positions by a feed-forward network across them (Tolstikhin et al. 2021)."""

from __future__ import annotations

from scalecli.architectures.skeleton import encoder_block, encoder_decoder, stack
from scalecli.shape import Shape
from scalecli.specs import EncoderDecoder, Repeat, TokenMixing


def mixer(shape: Shape) -> EncoderDecoder:
    """Token mixing in the place of the encoder's self-attention; the decoder is the Transformer's."""
    assert shape.positions is not None
    mixing = TokenMixing(shape.d_model, shape.d_ff, shape.positions)
    encoder = Repeat(encoder_block(shape, mixing=mixing), shape.encoder_layers)
    return encoder_decoder("mixer", shape, encoder=stack(shape, encoder, bidirectional=True, bias_heads=()))
