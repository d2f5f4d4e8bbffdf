"""The architectures: pure functions from a `Shape` to a `ModelSpec`, one file each, and the one list of their names."""

from __future__ import annotations

from collections.abc import Callable

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
from scalecli.errors import ConfigurationError, nearest
from scalecli.shape import Shape, check_knobs
from scalecli.specs import ModelSpec

# In the order of "Scaling Laws vs Model Architectures", section 3.1.
ARCHITECTURES: dict[str, Callable[[Shape], ModelSpec]] = {
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
DEFAULT_ARCHITECTURE = "transformer"


def build_spec(architecture: str, shape: Shape) -> ModelSpec:
    """The spec of one architecture at one shape.

    Raises:
        ConfigurationError: no architecture has that name, or the shape can't be one of it.
    """
    if architecture not in ARCHITECTURES:
        raise ConfigurationError(
            f"no architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}"
            f"{nearest(architecture, ARCHITECTURES)}"
        )
    check_knobs(shape, architecture)
    return ARCHITECTURES[architecture](shape)
