"""Mixture of softmaxes: an output head that mixes several softmaxes over the vocabulary (Yang et al. 2018)."""

from __future__ import annotations

from scalecli.architectures.skeleton import encoder_decoder
from scalecli.shape import Shape
from scalecli.specs import EncoderDecoder, MixtureOfSoftmaxes


def mos(shape: Shape) -> EncoderDecoder:
    """The Transformer with the mixture on its tied embedding (Scaling Laws vs Model Architectures, section 3.1).

    The papers' rows have the parameters of a mixture that never touched the logits: theirs cost less than this one.
    """
    assert shape.softmaxes is not None
    return encoder_decoder("mos", shape, logits=MixtureOfSoftmaxes(shape.vocabulary, shape.d_model, shape.softmaxes))
