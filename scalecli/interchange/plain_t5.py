"""The T5 that other libraries know, and which models of ours are one."""

from __future__ import annotations

from scalecli.errors import ConfigurationError
from scalecli.shape import Shape

IS_GATED = {"transformer": False, "glu": True}  # whether an architecture's feed-forward layers have a gate
ARCHITECTURE_BY_GATE = {gated: architecture for architecture, gated in IS_GATED.items()}

# What T5's own libraries call the matrices of its feed-forward layers.
FEED_FORWARD = {
    "transformer": {"input": "wi", "output": "wo"},
    "glu": {"gate": "wi_0", "input": "wi_1", "output": "wo"},
}


def check_plain(architecture: str, shape: Shape, holder: str) -> None:
    """Checks that a library whose T5 is plain, the `holder`, can hold a model.

    Raises:
        ConfigurationError: it cannot; says why.
    """
    if architecture not in IS_GATED:
        raise ConfigurationError(f"{holder} has no {architecture}; it can hold {' and '.join(IS_GATED)}")
    check_own_keys_and_values(shape, holder)
    if shape.shared_stacks:
        raise ConfigurationError(f"{holder} has layers for each stack; this run's stacks share theirs (SS)")


def check_own_keys_and_values(shape: Shape, holder: str) -> None:
    """Checks that every head has a key and a value of its own. Raises ConfigurationError."""
    if shape.shared_heads:
        raise ConfigurationError(f"{holder} has a key and a value head for each query head; this run's are shared (SH)")
    if shape.tied_key_values:
        raise ConfigurationError(f"{holder} has keys and values of their own; this run's are tied (SKV)")
