"""How fast a model trains on a machine, and what holds it up. Pure Python.

A step takes the time of its matrix products at a share of the chip's peak, of what goes through its memory, of what
goes over its interconnect, and a fixed time, one after another. Four constants, the same for all architectures and
sizes, were fitted to the 68 training speeds that "Scaling Laws vs Model Architectures" (Table 1) and "Scale
Efficiently" (Table 4) print, all on TPU v3; tests/costs/speeds.py fits them again. For other chips they are an
extrapolation. How tokens get to experts on other devices is left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from scalecli import costs
from scalecli.costs import Batch
from scalecli.costs.hardware import BYTES, Machine
from scalecli.costs.layout import adds_up_over_devices, branches, local_weights
from scalecli.costs.memory import Training
from scalecli.specs import ModelSpec


@dataclass(frozen=True)
class Constants:
    """What the published speeds were fitted with.

    `product_efficiency`: share of the peak that matrix products reach. `elementwise_bytes`: bytes through memory for
    each elementwise product, of 16-bit numbers. `weight_passes`: times that the bytes of the
    float32 weights go through memory in a step, the optimizer's own work included. `step_seconds`: whatever the model.
    """

    product_efficiency: float
    elementwise_bytes: float
    weight_passes: float
    step_seconds: float


@dataclass(frozen=True)
class Accuracy:
    """How near the estimates of published speeds are: rows, how many are within 25%, the median relative error.

    `left_out_*`: the same for each row by constants that were fitted to the other rows alone.
    """

    rows: int
    within_25_percent: int
    median_error: float
    left_out_within_25_percent: int
    left_out_median_error: float


FITTED = Constants(product_efficiency=0.648, elementwise_bytes=3.07, weight_passes=14.7, step_seconds=0.0177)
ACCURACY = Accuracy(68, 56, 0.080, 56, 0.096)


@dataclass(frozen=True)
class Work:
    """What one training step makes each device do.

    `product_flops`: two for each multiply-add of a matrix product. `elementwise`: products of one tensor with another.
    `weight_bytes`: the device's float32 weights. `interconnect_bytes`: what it sends.
    """

    product_flops: float
    elementwise: float
    weight_bytes: int
    interconnect_bytes: float


@dataclass(frozen=True)
class Estimate:
    """Seconds of one training step by what takes them."""

    seconds: dict[str, float]

    @property
    def steps_per_s(self) -> float:
        """Training steps a second."""
        return 1 / sum(self.seconds.values())

    @property
    def limit(self) -> str:
        """What takes the largest part of the time."""
        return max(self.seconds, key=lambda name: self.seconds[name])


def estimate(spec: ModelSpec, batch: Batch, machine: Machine, training: Training) -> Estimate:
    """Speed of training.

    Raises:
        ConfigurationError: the model cannot be laid out so (see `memory.device_memory`), or the chip does not have that
            precision.
    """
    return Estimate(step_seconds(device_work(spec, batch, machine, training), machine, training))


def step_seconds(work: Work, machine: Machine, training: Training, constants: Constants = FITTED) -> dict[str, float]:
    """Seconds of one training step by what takes them.

    Raises:
        ConfigurationError: the chip does not have that precision.
    """
    chip = machine.chip
    elementwise_bytes = constants.elementwise_bytes * BYTES[training.precision] / BYTES["bfloat16"]
    memory_bytes = elementwise_bytes * work.elementwise + constants.weight_passes * work.weight_bytes
    flops = chip.flops(training.precision) / chip.devices * constants.product_efficiency
    return {
        "matrix products": work.product_flops / flops,
        "memory": memory_bytes / (chip.memory_bytes_per_s / chip.devices),
        "interconnect": work.interconnect_bytes / (chip.interconnect_bytes_per_s / chip.devices or 1),
        "fixed time of a step": constants.step_seconds,
    }


def device_work(spec: ModelSpec, batch: Batch, machine: Machine, training: Training) -> Work:
    """What one training step makes each device do.

    Rematerialisation does the forward pass once more. What is d_model wide on both sides, each device of a replica
    does for itself.

    Raises:
        ConfigurationError: the model cannot be laid out so (see `memory.device_memory`).
    """
    sequences = machine.sequences_per_replica(batch.sequences)
    passes = costs.TRAINING_PASSES + training.rematerialised
    products = elementwise = 0.0
    for component, count in spec.multiply_adds(batch.inputs, batch.targets).items():
        local = count * sequences / (1 if component in costs.REPLICATED else machine.model_parallel)
        if component in ("elementwise", "products"):
            elementwise += local
        elif component not in costs.ONLY_IN_PAPER:
            products += local
    weights = list(local_weights(spec, machine))
    gradients = costs.FLOAT32_BYTES * sum(weight.size for weight in weights if not weight.spread)
    partial_sums = BYTES[training.precision] * sequences * _partial_sums(spec, batch, reductions=passes - 1)
    return Work(
        product_flops=2 * passes * products,
        elementwise=passes * elementwise,
        weight_bytes=costs.FLOAT32_BYTES * sum(weight.size for weight in weights),
        interconnect_bytes=_all_reduce(gradients, machine.replicas) + _all_reduce(partial_sums, machine.model_parallel),
    )


def _all_reduce(size: float, devices: int) -> float:
    """What each device sends to add up `size` bytes over a ring of devices."""
    return 2 * size * (devices - 1) / devices


def _partial_sums(spec: ModelSpec, batch: Batch, reductions: int) -> int:
    """Numbers of one sequence that a replica's devices add up, each layer's output or input `reductions` times a step.

    Once in each forward pass, of the outputs, and once in the backward pass, of the inputs' gradients. Embeddings are
    added up forwards and the logits' gradient backwards.
    """
    ends = spec.ends(batch.inputs, batch.targets)
    positions = sum(length for end, length in ends if adds_up_over_devices(end))
    for stack, length, memory in spec.passes(batch.inputs, batch.targets):
        for times, parts in stack.layers(length, memory):
            summed = sum(at for part, at in parts for branch in branches(part) if adds_up_over_devices(branch))
            positions += reductions * times * summed
    return positions * spec.encoder.final_norm.d_model
