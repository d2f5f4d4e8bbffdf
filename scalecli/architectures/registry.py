"""The one list of architectures."""

from __future__ import annotations

from scalecli.architectures.declaration import Architecture
from scalecli.architectures.knobs import KNOBS

ARCHITECTURES: dict[str, Architecture] = {}


def register(architecture: Architecture) -> None:
    """Adds an architecture and its knobs."""
    for knob in architecture.knobs:
        KNOBS.setdefault(knob.name, knob)
    ARCHITECTURES[architecture.name] = architecture
