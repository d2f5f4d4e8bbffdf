"""Mixture of softmaxes: an output head that mixes several softmaxes over the vocabulary (Yang et al. 2018)."""

from __future__ import annotations

from collections.abc import Iterator

from scalecli import shapes_directory
from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import Knob
from scalecli.architectures.shape import Shape
from scalecli.architectures.skeleton import encoder_decoder
from scalecli.specs import EncoderDecoder, MixtureOfSoftmaxes


def mos(shape: Shape) -> EncoderDecoder:
    """The Transformer with the mixture on its tied embedding (Scaling Laws vs Model Architectures, section 3.1).

    The papers' rows have the parameters of a mixture that never touched the logits: theirs cost less than this one.
    """
    return encoder_decoder("mos", shape, logits=MixtureOfSoftmaxes(shape.vocabulary, shape.d_model, shape.softmaxes))


def warnings(shape: Shape) -> Iterator[str]:
    """One softmax is no mixture."""
    if shape.softmaxes == 1:
        yield "one softmax mixes nothing; its context is one more layer below the logits"


architecture = Architecture(
    name="mos",
    build=mos,
    knobs=(Knob("softmaxes", "ns", "--softmaxes", "Softmaxes that are mixed."),),
    sizes=shapes_directory() / "mos.yaml",
    warnings=warnings,
    paper_note="the papers' mos rows have GLU's FLOPs and the parameters of 15 softmaxes, so theirs never touched the "
    "logits; these do",
)
