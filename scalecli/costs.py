"""What a model costs: floating-point operations by convention, bytes of weights and optimizer state. Pure Python."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from scalecli.specs import ModelSpec, Weight

Convention = Literal["forward", "training", "paper"]
CONVENTIONS: tuple[Convention, ...] = ("forward", "training", "paper")

COMPONENTS = ("embedding", "attention projections", "attention scores", "feed-forward", "elementwise", "logits")

# What "Scale Efficiently" and "Scaling Laws vs Model Architectures" count as work and `forward` does not: look-ups
# done as one-hot products, and products of one tensor with another element by element.
ONLY_IN_PAPER = ("embedding", "elementwise")
FLOAT32_BYTES = 4

# A backward pass costs two forward passes: one for the gradient of the activations, one for that of the weights.
TRAINING_PASSES = 3

SMALLEST_FACTORED = 128


@dataclass(frozen=True)
class Batch:
    """How much goes through the model at once: sequences, and tokens of each input and target."""

    sequences: int = 128
    inputs: int = 512
    targets: int = 114


# The batch that a convention's figures are of, unless another one is asked for.
BATCHES: dict[Convention, Batch] = {
    "forward": Batch(),
    "training": Batch(),
    "paper": Batch(targets=128),  # the papers' 114 targets are padded to 128
}


def flops(spec: ModelSpec, batch: Batch, convention: Convention) -> dict[str, int]:
    """FLOPs of one batch, by component.

    `forward`: twice the multiply-adds of the work really done in one forward pass. `training`: three times that, for
    the backward pass. `paper`: what the two papers print, the multiply-adds of one forward pass, not doubled, with
    embedding look-ups as one-hot products and elementwise products counted. The papers' batch is 128 x 512 inputs x 128
    targets. Work that their model parallelism repeats on each core is not counted here: that leaves
    the figures 0.1 to 0.4% under the original graphs'.
    """
    counts = spec.multiply_adds(batch.inputs, batch.targets)
    factor = {"paper": 1, "forward": 2, "training": 2 * TRAINING_PASSES}[convention]
    return {
        component: factor * batch.sequences * counts[component]
        for component in COMPONENTS
        if convention == "paper" or component not in ONLY_IN_PAPER
    }


def weights_bytes(spec: ModelSpec) -> int:
    """Bytes of the float32 weights."""
    return FLOAT32_BYTES * spec.parameters()


def factored_axes(shape: tuple[int, ...]) -> tuple[int, int] | None:
    """The two axes whose second moments Adafactor keeps apart (Shazeer and Stern 2018, section 3), or None.

    The two largest axes, if both have at least 128 entries. The first of the pair is the largest (the earlier of two
    alike): the row statistics are the weight's shape without it, the column statistics the shape without the other.
    """
    if len(shape) < 2:
        return None
    by_size = sorted(range(len(shape)), key=lambda axis: (-shape[axis], axis))
    largest, second = by_size[0], by_size[1]
    return None if shape[second] < SMALLEST_FACTORED else (largest, second)


def adafactor_state_size(weight: Weight) -> int:
    """Numbers that Adafactor keeps for one layer's weight: two factors, or all of the second moment."""
    axes = factored_axes(weight.shape)
    if axes is None:
        return weight.size
    return sum(math.prod(size for axis, size in enumerate(weight.shape) if axis != left_out) for left_out in axes)


def adafactor_bytes(spec: ModelSpec) -> int:
    """Bytes of Adafactor's float32 state for the whole model."""
    sizes = (max(layers, 1) * adafactor_state_size(weight) for layers, weight in spec.weights().values())
    return FLOAT32_BYTES * sum(sizes)
