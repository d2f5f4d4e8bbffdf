"""Training steps: one compiled function for many of them, no Python in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Protocol

import keras

from scalecli.models.trainable import Arrays, Trainable
from scalecli.training.records import StepMetrics


class TrainingSteps(Protocol):
    """Optimizer steps on batches.

    A batch is divided over the replicas, each of which works through its part in `accumulation` equal parts; their
    gradients are added up. Dropout masks are a function of (seed, step, replica, part).
    """

    def run(self, batches: Iterator[Arrays], count: int) -> StepMetrics:
        """`count` steps; returns each one's figures."""


def new_steps(
    devices: Any,
    model: Trainable,
    optimizer: keras.optimizers.Optimizer,
    *,
    seed: int,
    z_loss: float,
    accumulation: int = 1,
) -> TrainingSteps:
    """The steps of a model and an optimizer of these devices."""
    options: dict[str, Any] = {"seed": seed, "z_loss": z_loss, "accumulation": accumulation}
    if keras.backend.backend() == "jax":
        from scalecli.training.steps.jax import JaxSteps

        return JaxSteps(devices, model, optimizer, **options)
    from scalecli.training.steps.tensorflow import TensorFlowSteps

    return TensorFlowSteps(devices, model, optimizer, **options)
