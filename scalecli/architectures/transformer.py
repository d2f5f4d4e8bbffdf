"""The T5 Transformer: ReLU feed-forward, one embedding for encoder, decoder and logits (Raffel et al. 2020)."""

from __future__ import annotations

from scalecli.architectures.skeleton import encoder_decoder
from scalecli.shape import Shape
from scalecli.specs import ModelSpec


def transformer(shape: Shape) -> ModelSpec:
    """T5 v1, the Transformer of both papers (Scale Efficiently, Table 1)."""
    return encoder_decoder("transformer", shape)
