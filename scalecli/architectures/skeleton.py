"""The encoder-decoder that all architectures are variations of (T5, section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence

from scalecli.architectures.knobs import Knob
from scalecli.architectures.shape import Shape
from scalecli.specs import (
    Attention,
    Block,
    Embedding,
    EncoderDecoder,
    FeedForward,
    LayerSpec,
    Logits,
    MixtureOfSoftmaxes,
    Norm,
    PositionBias,
    Repeat,
    Stack,
    Sublayer,
)

# Knobs of several architectures.
SHARED_STACKS = Knob("shared_stacks", "ss", "--shared-stacks", "Encoder and decoder share their layers.", bool)
LOGITS = Knob("logits", "lg", "--logits", "Logits by the embedding, or by a matrix of their own.", ("tied", "untied"))


def attention(shape: Shape, causal: bool = False, cross: bool = False) -> Attention:
    """Softmax attention of a shape, with the sharing that it asks for."""
    return Attention(shape.d_model, shape.heads, shape.d_kv, causal, cross, shape.shared_heads, shape.tied_key_values)


def feed_forward(shape: Shape) -> FeedForward:
    """The feed-forward layer of T5 v1."""
    return FeedForward(shape.d_model, shape.d_ff, activation="relu")


def block(shape: Shape, **layers: LayerSpec) -> Block:
    """A block of pre-norm sublayers by their names."""
    return Block(tuple(Sublayer(name, layer, Norm(shape.d_model)) for name, layer in layers.items()))


def encoder_block(shape: Shape, mixing: LayerSpec | None = None, transform: LayerSpec | None = None) -> Block:
    """Self-attention, or `mixing` instead; feed-forward, or `transform` instead."""
    name, layer = ("self_attention", attention(shape)) if mixing is None else ("mixing", mixing)
    return block(shape, **{name: layer}, feed_forward=transform or feed_forward(shape))


def decoder_block(shape: Shape, mixing: LayerSpec | None = None, transform: LayerSpec | None = None) -> Block:
    """Causal self-attention, or `mixing` instead; cross-attention; feed-forward, or `transform` instead."""
    name, layer = ("self_attention", attention(shape, causal=True)) if mixing is None else ("mixing", mixing)
    cross = attention(shape, cross=True)
    return block(shape, **{name: layer}, cross_attention=cross, feed_forward=transform or feed_forward(shape))


def stack(shape: Shape, *repeats: Repeat, bidirectional: bool, bias_heads: Sequence[int] | None = None) -> Stack:
    """Repeated blocks; a position bias for each number of heads: the shape's own, unless `bias_heads` says others."""
    biases = tuple(
        PositionBias(heads, bidirectional, stddev=shape.d_model**-0.5)
        for heads in ((shape.heads,) if bias_heads is None else bias_heads)
    )
    return Stack(repeats, biases, Norm(shape.d_model))


def encoder_decoder(
    architecture: str,
    shape: Shape,
    encoder: Stack | None = None,
    decoder: Stack | None = None,
    embedding: Embedding | None = None,
    logits: Logits | MixtureOfSoftmaxes | None = None,
    shared_stacks: bool = False,
) -> EncoderDecoder:
    """The T5 v1 Transformer, but for the parts that are given."""
    encoder_repeat = Repeat(encoder_block(shape), shape.encoder_layers)
    decoder_repeat = Repeat(decoder_block(shape), shape.decoder_layers)
    return EncoderDecoder(
        architecture=architecture,
        encoder=encoder or stack(shape, encoder_repeat, bidirectional=True),
        decoder=decoder or stack(shape, decoder_repeat, bidirectional=False),
        embedding=embedding or Embedding(shape.vocabulary, shape.d_model),
        logits=logits or Logits(shape.vocabulary, shape.d_model, tied=True, scaled=True),
        shared_stacks=shared_stacks,
    )
