"""Bytes that training takes on one device of a data x model parallel machine, and what makes too many fit. Pure Python.

Weights, gradients and optimizer state are float32 and laid out as `scalecli.costs.layout` says. Programs that XLA
compiled for a TPU v5e took 0.81 to 1.01 times these figures (tests/costs/test_memory.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, TypeVar

from scalecli.costs import FLOAT32_BYTES, Batch, adafactor_state_size
from scalecli.costs.hardware import BYTES, Machine, Precision
from scalecli.costs.layout import branches, local_activations, local_weights
from scalecli.errors import ConfigurationError
from scalecli.specs import LayerSpec, ModelSpec

T = TypeVar("T", Batch, Machine, "Training")

Optimizer = Literal["adafactor", "adamw"]
OPTIMIZERS: tuple[Optimizer, ...] = ("adafactor", "adamw")
MOST_LOGITS = 2**26  # that the loss computes at once: 256 MiB of float32


@dataclass(frozen=True)
class Training:
    """How a model is trained, as far as memory and speed depend on it."""

    optimizer: Optimizer = "adafactor"
    precision: Precision = "bfloat16"
    rematerialised: bool = False


@dataclass(frozen=True)
class DeviceMemory:
    """Bytes on one device, by what they are for.

    `activations`: what the backward pass keeps of the forward pass, and beside that the larger of one recomputed
    block, and logits with their gradient (at which time only the embedding has a gradient).
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
            replica's devices; or the architecture does not take inputs of that length.
    """
    sequences = machine.sequences_per_replica(batch.sequences)
    local = list(local_weights(spec, machine))
    weights = gradients = FLOAT32_BYTES * sum(weight.size for weight in local)
    moments = sum(weight.copies * adafactor_state_size(weight.whole, weight.local) for weight in local)
    kept, largest = _activations(spec, batch, machine, training)
    ends = (spec.embedding, spec.logits)
    matrix = FLOAT32_BYTES * max(weight.size for end in ends for weight in end.weights().values())
    logits = _logits(spec, sequences, batch.targets, machine, training)
    beside = max(sequences * largest, 2 * logits + matrix // machine.model_parallel - gradients)
    return DeviceMemory(
        weights=weights,
        gradients=gradients,
        optimizer=2 * weights if training.optimizer == "adamw" else FLOAT32_BYTES * moments,
        activations=sequences * kept + beside,
    )


def fits(memory: DeviceMemory, machine: Machine) -> bool:
    """Whether a device has that much memory."""
    return memory.total <= machine.device_memory_bytes


def remedies(spec: ModelSpec, batch: Batch, machine: Machine, training: Training) -> list[str]:
    """Options that make a model fit that does not, each alone and changed as little as is enough."""

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
    options = []
    for option, field, values in trials:
        value = next((value for value in values if enough(**{field: value})), None)
        if value is not None:
            options.append(option if value is True else f"{option} {value}")
    return options


def _logits(spec: ModelSpec, sequences: int, targets: int, machine: Machine, training: Training) -> int:
    """Bytes of the logits that one device has at once; on JAX several replicas share the limit."""
    together = max(1, min(targets, MOST_LOGITS // (sequences * spec.logits.classes)))
    return sequences * _size(spec.logits, together, 0, machine, training)


def _size(part: LayerSpec, length: int, memory: int, machine: Machine, training: Training) -> int:
    """Bytes that one device keeps of a layer's activations for one sequence."""
    counts = part.activations(length, memory)
    whole = BYTES[training.precision] * counts["compute"] + FLOAT32_BYTES * counts["float32"] + counts["bool"]
    return local_activations(part, whole, machine.model_parallel)


def _activations(spec: ModelSpec, batch: Batch, machine: Machine, training: Training) -> tuple[int, int]:
    """Bytes that one device keeps of one sequence's way through both stacks; and of one block that is computed again.

    Rematerialised, only the input of each block is kept. A block that pools stands alone and is never rematerialised.
    """
    width = BYTES[training.precision]
    (embedding, positions), _ = spec.ends(batch.inputs, batch.targets)
    kept, largest = _size(embedding, positions, 0, machine, training), 0
    for stack, length, memory in spec.passes(batch.inputs, batch.targets):
        kept += _size(stack.final_norm, stack.output_length(length), memory, machine, training)
        for repeat, (times, parts) in zip(stack.repeats, stack.layers(length, memory), strict=True):
            sizes = (_size(branch, at, memory, machine, training) for part, at in parts for branch in branches(part))
            block, its_input = sum(sizes), width * parts[0][1] * stack.final_norm.d_model
            again = training.rematerialised and not repeat.block.pools
            kept += times * (its_input if again else block)
            largest = max(largest, block if again else 0)
        if stack.recurrence is not None:
            kept += stack.recurrence.passes * _size(stack.recurrence, length, memory, machine, training)
    return kept, largest
