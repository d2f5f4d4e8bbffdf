"""The encoder-decoder that all architectures are variations of (T5, section 2.1)."""

from __future__ import annotations

from scalecli.shape import Shape
from scalecli.specs import (
    Attention,
    Block,
    Embedding,
    FeedForward,
    LayerSpec,
    Logits,
    ModelSpec,
    Norm,
    PositionBias,
    Repeat,
    Stack,
    Sublayer,
)


def encoder_decoder(architecture: str, shape: Shape, feed_forward: FeedForward, logits: Logits) -> ModelSpec:
    """Both stacks of pre-norm blocks: self-attention, in the decoder cross-attention, feed-forward."""
    norm = Norm(shape.d_model)

    def block(**layers: LayerSpec) -> Block:
        return Block(tuple(Sublayer(name, layer, norm) for name, layer in layers.items()))

    def attention(causal: bool = False, cross: bool = False) -> Attention:
        return Attention(shape.d_model, shape.heads, shape.d_kv, causal, cross)

    def stack(layers: int, repeated: Block, bidirectional: bool) -> Stack:
        position_bias = PositionBias(shape.heads, bidirectional, stddev=shape.d_model**-0.5)
        return Stack((Repeat(repeated, layers),), position_bias, norm)

    encoder_block = block(self_attention=attention(), feed_forward=feed_forward)
    decoder_block = block(
        self_attention=attention(causal=True), cross_attention=attention(cross=True), feed_forward=feed_forward
    )
    return ModelSpec(
        architecture=architecture,
        encoder=stack(shape.encoder_layers, encoder_block, bidirectional=True),
        decoder=stack(shape.decoder_layers, decoder_block, bidirectional=False),
        embedding=Embedding(shape.vocabulary, shape.d_model),
        logits=logits,
    )
