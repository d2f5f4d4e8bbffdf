"""MLP-Mixer: the encoder mixes positions by a feed-forward network across them (Tolstikhin et al. 2021)."""

from __future__ import annotations

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import Knob
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import encoder_block, encoder_decoder, stack
from scalecli.specs import EncoderDecoder, Repeat, TokenMixing


def mixer(shape: Shape) -> EncoderDecoder:
    """Token mixing instead of the encoder's self-attention; the decoder is the Transformer's."""
    mixing = TokenMixing(shape.d_model, shape.d_ff, shape.positions)
    encoder = Repeat(encoder_block(shape, mixing=mixing), shape.encoder_layers)
    return encoder_decoder("mixer", shape, encoder=stack(shape, encoder, bidirectional=True, bias_heads=()))


architecture = Architecture(
    name="mixer",
    build=mixer,
    knobs=(Knob("positions", "np", "--positions", "Longest input, in tokens."),),
    sizes=shapes_directory() / "mixer.yaml",
)
