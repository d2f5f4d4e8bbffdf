"""The architectures: pure functions from a `Shape` to a `ModelSpec`, one file each, and the one list of their names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeVar

from scalecli.architectures.albert import albert
from scalecli.architectures.dconv import dconv
from scalecli.architectures.evolved import evolved
from scalecli.architectures.funnel import funnel
from scalecli.architectures.glu import glu
from scalecli.architectures.lconv import lconv
from scalecli.architectures.mixer import mixer
from scalecli.architectures.mos import mos
from scalecli.architectures.performer import performer
from scalecli.architectures.switch import switch
from scalecli.architectures.transformer import transformer
from scalecli.architectures.universal import universal
from scalecli.architectures.vit import vit
from scalecli.errors import ConfigurationError, nearest
from scalecli.shape import Shape, check_knobs
from scalecli.specs import EncoderDecoder, EncoderOnly, ModelSpec

M = TypeVar("M", bound=ModelSpec)

# In the order of "Scaling Laws vs Model Architectures", section 3.1.
TEXT_ARCHITECTURES: dict[str, Callable[[Shape], EncoderDecoder]] = {
    "transformer": transformer,
    "evolved": evolved,
    "universal": universal,
    "switch": switch,
    "performer": performer,
    "funnel": funnel,
    "albert": albert,
    "mos": mos,
    "glu": glu,
    "lconv": lconv,
    "dconv": dconv,
    "mixer": mixer,
}
# "Scale Efficiently", Appendix .1.
IMAGE_ARCHITECTURES: dict[str, Callable[[Shape], EncoderOnly]] = {"vit": vit}
ARCHITECTURES: dict[str, Callable[[Shape], ModelSpec]] = {**TEXT_ARCHITECTURES, **IMAGE_ARCHITECTURES}
DEFAULT_ARCHITECTURE = "transformer"


def build_spec(architecture: str, shape: Shape) -> ModelSpec:
    """The spec of one architecture at one shape.

    Raises:
        ConfigurationError: no architecture has that name, or the shape can't be one of it.
    """
    return _build(ARCHITECTURES, architecture, shape)


def build_text_spec(architecture: str, shape: Shape) -> EncoderDecoder:
    """As `build_spec`, of an architecture that reads and writes text.

    Raises:
        ConfigurationError: it is none, or the shape can't be one of it.
    """
    if architecture in IMAGE_ARCHITECTURES:
        raise ConfigurationError(f"{architecture} reads images; this takes text: {', '.join(TEXT_ARCHITECTURES)}")
    return _build(TEXT_ARCHITECTURES, architecture, shape)


def build_image_spec(architecture: str, shape: Shape) -> EncoderOnly:
    """As `build_spec`, of an architecture that reads images.

    Raises:
        ConfigurationError: it is none, or the shape can't be one of it.
    """
    if architecture in TEXT_ARCHITECTURES:
        raise ConfigurationError(f"{architecture} reads text; this takes images: {', '.join(IMAGE_ARCHITECTURES)}")
    return _build(IMAGE_ARCHITECTURES, architecture, shape)


def _build(architectures: Mapping[str, Callable[[Shape], M]], architecture: str, shape: Shape) -> M:
    if architecture not in architectures:
        hint = nearest(architecture, architectures)
        raise ConfigurationError(f"no architecture {architecture!r}; there are {', '.join(architectures)}{hint}")
    check_knobs(shape, architecture)
    return architectures[architecture](shape)
