"""Performer: self-attention that is linear in the length, by a ReLU kernel (Choromanski et al. 2021)."""

from __future__ import annotations

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import decoder_block, encoder_block, encoder_decoder, stack
from scalecli.specs import EncoderDecoder, LinearAttention, Repeat


def performer(shape: Shape) -> EncoderDecoder:
    """Linear self-attention in both stacks, without position bias; cross-attention stays softmax."""

    def linear(causal: bool) -> LinearAttention:
        return LinearAttention(
            shape.d_model,
            shape.heads,
            shape.d_kv,
            causal,
            shared_heads=shape.shared_heads,
            tied_key_values=shape.tied_key_values,
        )

    encoder = Repeat(encoder_block(shape, mixing=linear(causal=False)), shape.encoder_layers)
    decoder = Repeat(decoder_block(shape, mixing=linear(causal=True)), shape.decoder_layers)
    return encoder_decoder(
        "performer",
        shape,
        encoder=stack(shape, encoder, bidirectional=True, bias_heads=()),
        decoder=stack(shape, decoder, bidirectional=False, bias_heads=()),
    )


architecture = Architecture(
    name="performer",
    build=performer,
    sizes=shapes_directory() / "performer.yaml",
)
