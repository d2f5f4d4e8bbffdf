"""A training run that is ready for the loop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalecli.devices import Batches, Devices
from scalecli.manifest import Manifest
from scalecli.models.trainable import Trainable
from scalecli.training.checkpoints import Saving
from scalecli.training.schedules import Schedule


@dataclass(frozen=True)
class PreparedRun:
    """Opened inputs, model and optimizer, ready for the loop.

    `manifest` states the configuration; `new_optimizer` makes what takes the steps, at the rates of `schedule`.
    `batches(step, share)` is an endless dataset of a host's share of the batches, from that of the step on;
    `validate()` measures the model, on all hosts alike; `best` is the result whose highest value names the best step.
    `positions_per_step` counts the tokens of a batch, inputs and targets, or the patches of its images; `peak_flops` is
    the devices' peak in FLOPs per second, where it is known. With a `start_step` it goes on from the weights and the
    optimizer's state of the checkpoint `start`.
    """

    manifest: Manifest
    devices: Devices
    model: Trainable
    schedule: Schedule
    new_optimizer: Callable[[], Any]
    saving: Saving
    batches: Batches
    validate: Callable[[], dict[str, float]]
    best: str
    positions_per_step: int
    peak_flops: float | None = None
    start: Path | None = None
