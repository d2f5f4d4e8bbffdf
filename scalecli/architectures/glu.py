"""The Transformer with gated feed-forward layers: T5 v1.1 (Shazeer 2020; "GLU" in the architectures paper)."""

from __future__ import annotations

from scalecli.architectures.skeleton import encoder_decoder
from scalecli.shape import Shape
from scalecli.specs import FeedForward, Logits, ModelSpec


def glu(shape: Shape) -> ModelSpec:
    """Gated GELU feed-forward and logits of their own (Scaling Laws vs Model Architectures, section 3.1)."""
    return encoder_decoder(
        "glu",
        shape,
        feed_forward=FeedForward(shape.d_model, shape.d_ff, activation="gelu", gated=True),
        logits=Logits(shape.vocabulary, shape.d_model, tied=False, scaled=False),
    )
