"""The model of any spec."""

from __future__ import annotations

from scalecli import specs
from scalecli.models.encoder_decoder import EncoderDecoder
from scalecli.models.vision import VisionTransformer


def new_model(
    spec: specs.ModelSpec, precision: str = "float32", dropout_rate: float = 0.0, rematerialise: bool = False
) -> EncoderDecoder | VisionTransformer:
    """The Keras model that a spec describes, with new weights."""
    match spec:
        case specs.EncoderDecoder():
            return EncoderDecoder(spec, precision, dropout_rate, rematerialise)
        case specs.EncoderOnly():
            return VisionTransformer(spec, precision, dropout_rate, rematerialise)
    raise TypeError(f"{type(spec).__name__} has no model")
