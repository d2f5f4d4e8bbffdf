"""Architectures by their names, and the check that a shape is one of them."""

from __future__ import annotations

from scalecli.architectures.declaration import Architecture
from scalecli.architectures.loading import load_installed
from scalecli.architectures.registry import ARCHITECTURES
from scalecli.architectures.shape import Shape
from scalecli.errors import ConfigurationError, nearest


def named(name: str) -> Architecture:
    """The architecture of that name.

    Raises:
        ConfigurationError: there is none; says which there are.
    """
    if name not in ARCHITECTURES and not load_installed(name):
        names = sorted(ARCHITECTURES)
        raise ConfigurationError(f"no architecture {name!r}; there are {', '.join(names)}{nearest(name, names)}")
    return ARCHITECTURES[name]


def check_knobs(shape: Shape, architecture: str) -> None:
    """Checks that a shape has the knobs of its architecture, and no others; and a decoder if that has one.

    Raises:
        ConfigurationError: a knob is missing, or is none of this architecture.
    """
    declared = named(architecture)
    if shape.decoder_layers and not declared.has("decoder_layers"):
        raise no_knob("decoder_layers", architecture)
    if not shape.decoder_layers and declared.has("decoder_layers"):
        raise ConfigurationError(f"the shape lacks decoder_layers, which {architecture} has")
    for name, value in shape.knobs:
        if not declared.has(name):
            raise no_knob(name, architecture)
        if value == declared.defaults.get(name):
            raise ConfigurationError(f"{name} is {value}, as {architecture} has it; leave it out")
    for knob in declared.knobs:
        if knob.default is None and getattr(shape, knob.name) is None:
            raise ConfigurationError(f"the shape lacks {knob.name}, which {architecture} has")


def no_knob(name: str, architecture: str) -> ConfigurationError:
    """The error for a knob that an architecture does not have; says which have it."""
    owners = sorted(owner for owner, declared in ARCHITECTURES.items() if declared.has(name))
    listed = " and ".join(owners) if len(owners) <= 3 else f"{len(owners)} other architectures"
    return ConfigurationError(f"{architecture} has no {name}, a knob of {listed}")
