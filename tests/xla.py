"""Both ways in which TensorFlow runs a model: compiled by XLA, as on accelerators, and by its own kernels."""

import keras
import pytest

MODULES = (
    "scalecli.models.compiled",
    "scalecli.models.losses",
    "scalecli.models.caches",
    "scalecli.models.linear_algebra",
    "scalecli.models.layers.attention",
    "scalecli.models.layers.convolutions",
    "scalecli.models.blocks.scan",
    "scalecli.models.blocks.stack",
    "scalecli.training.optimizers.adafactor",
)
WAYS = [True, False] if keras.backend.backend() == "tensorflow" else [True]
either_way = pytest.mark.parametrize("xla", WAYS, ids=lambda on: "xla" if on else "kernels")


def use_xla(monkeypatch, on):
    """Decides for all modules at once, whatever devices there are."""
    for module in MODULES:
        monkeypatch.setattr(f"{module}.uses_xla", lambda: on)
