"""Bytes that training takes on one device of a data x model parallel machine, and what makes too many fit. Pure Python.

Weights, gradients and optimizer state are float32 and laid out as `scalecli.costs.layout` says. Programs that XLA
compiled for a TPU v5e took 0.8 to 1.2 times these figures (tests/costs/test_memory.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from scalecli.costs import FLOAT32_BYTES, Batch, factored_axes
from scalecli.costs.hardware import BYTES, Machine, Precision
from scalecli.costs.layout import LocalWeight, branches, local_activations, local_weights
from scalecli.errors import ConfigurationError
from scalecli.specs import LayerSpec, ModelSpec

T = TypeVar("T", Batch, Machine, "Training")

Optimizer = Literal["adafactor", "adamw"]
OPTIMIZERS: tuple[Optimizer, ...] = ("adafactor", "adamw")


@dataclass(frozen=True)
class Training:
    """How a model is trained, as far as memory and speed depend on it."""

    optimizer: Optimizer = "adafactor"
    precision: Precision = "bfloat16"
    rematerialised: bool = False


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on one device, by what they are for.

    `activations`: what the backward pass keeps of the forward pass, logits among it.
    """

    weights: int
    gradients: int
    optimizer: int
    activations: int

    @property
    def total(self) -> int:
        """All of it at once, which is the peak."""
        return sum(getattr(self, field.name) for field in fields(self))


def device_memory(spec: ModelSpec, batch: Batch, machine: Machine, training: Training) -> DeviceMemory:
    """Bytes that one training step takes on each device.

    Raises:
        ConfigurationError: the batch does not divide over the replicas, or heads, d_ff or the vocabulary over a
            replica's devices; or the architecture can't have inputs of that length.
    """
    sequences = machine.sequences_per_replica(batch.sequences)
    local = list(local_weights(spec, machine))
    weights = FLOAT32_BYTES * sum(weight.size for weight in local)
    return DeviceMemory(
        weights=weights,
        gradients=weights,
        optimizer=2 * weights if training.optimizer == "adamw" else FLOAT32_BYTES * sum(map(_adafactor_size, local)),
        activations=sequences * _activations(spec, batch, machine, training),
    )


def fits(memory: DeviceMemory, machine: Machine) -> bool:
    """Whether a device has that much memory."""
    return memory.total <= machine.device_memory_bytes


def remedies(spec: ModelSpec, batch: Batch, machine: Machine, training: Training) -> list[str]:
    """Options that make a model fit that doesn't, each by itself and as little of it as is enough."""

    def enough(**changed: Any) -> bool:
        def with_changes(part: T) -> T:
            return replace(part, **{name: value for name, value in changed.items() if hasattr(part, name)})

        try:
            layout = with_changes(machine)
            return fits(device_memory(spec, with_changes(batch), layout, with_changes(training)), layout)
        except ConfigurationError:
            return False

    more_parallel = range(machine.model_parallel + 1, machine.devices + 1)
    trials: list[tuple[str, str, Sequence[Any]]] = [
        ("--rematerialise", "rematerialised", [True]),
        ("--optimizer", "optimizer", ["adafactor"]),
        ("--model-parallel", "model_parallel", [parts for parts in more_parallel if machine.devices % parts == 0]),
        ("--chips", "chips", [machine.chips * 2**power for power in range(1, 8)]),
        ("--batch", "sequences", [batch.sequences // 2**power for power in range(1, 8) if batch.sequences >= 2**power]),
    ]
    found = []
    for option, field, values in trials:
        value = next((value for value in values if enough(**{field: value})), None)
        if value is not None:
            found.append(option if value is True else f"{option} {value}")
    return found


def _adafactor_size(weight: LocalWeight) -> int:
    """Numbers that Adafactor keeps for a device's part of a weight; which axes are factored is the whole's matter."""
    axes = factored_axes(weight.whole)
    if axes is None:
        return weight.size
    factors = (math.prod(size for axis, size in enumerate(weight.local) if axis != left_out) for left_out in axes)
    return weight.copies * sum(factors)


def _activations(spec: ModelSpec, batch: Batch, machine: Machine, training: Training) -> int:
    """Bytes that one device keeps of one sequence's forward pass.

    Rematerialised, only the input of each block, and while one block is gone through backwards, its own.
    """
    width = BYTES[training.precision]

    def size(part: LayerSpec, length: int, memory: int = 0) -> int:
        counts = part.activations(length, memory)
        whole = width * counts["compute"] + FLOAT32_BYTES * counts["float32"]
        return local_activations(part, whole, machine.model_parallel)

    kept = sum(size(end, length) for end, length in spec.ends(batch.inputs, batch.targets))
    for stack, length, memory in spec.passes(batch.inputs, batch.targets):
        kept += size(stack.final_norm, stack.output_length(length))
        largest = 0
        for times, parts in stack.layers(length, memory):
            block = sum(size(branch, at, memory) for part, at in parts for branch in branches(part))
            largest = max(largest, block)
            kept += times * (width * parts[0][1] * stack.final_norm.d_model if training.rematerialised else block)
        if stack.recurrence is not None:
            kept += stack.recurrence.passes * size(stack.recurrence, length)
        kept += largest if training.rematerialised else 0
    return kept
