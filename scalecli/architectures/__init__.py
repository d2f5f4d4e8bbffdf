"""The architectures: pure functions from a `Shape` to a `ModelSpec`, one file each, and the one list of their names."""

from __future__ import annotations

from collections.abc import Callable

from scalecli.architectures.glu import glu
from scalecli.architectures.transformer import transformer
from scalecli.errors import ConfigurationError, nearest
from scalecli.shape import Shape
from scalecli.specs import ModelSpec

ARCHITECTURES: dict[str, Callable[[Shape], ModelSpec]] = {
    "transformer": transformer,
    "glu": glu,
}
DEFAULT_ARCHITECTURE = "transformer"


def build_spec(architecture: str, shape: Shape) -> ModelSpec:
    """The spec of one architecture at one shape.

    Raises:
        ConfigurationError: no architecture has that name.
    """
    if architecture not in ARCHITECTURES:
        raise ConfigurationError(
            f"no architecture {architecture!r}; there are {', '.join(ARCHITECTURES)}"
            f"{nearest(architecture, ARCHITECTURES)}"
        )
    return ARCHITECTURES[architecture](shape)


def packing_refused(architecture: str) -> str | None:
    """Why an architecture can't keep several examples in a row apart, or None where it can."""
    return None
