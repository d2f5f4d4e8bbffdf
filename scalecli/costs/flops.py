"""What a model costs: floating-point operations by convention, bytes of weights and optimizer state. Pure Python."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from scalecli.errors import ConfigurationError

if TYPE_CHECKING:  # names and batches of the conventions are there sooner without
    from scalecli.specs import ModelSpec

Convention = Literal["forward", "training", "paper"]
CONVENTIONS: tuple[Convention, ...] = ("forward", "training", "paper")

COMPONENTS = (
    "embedding",
    "embedding projections",
    "attention projections",
    "attention scores",
    "token mixing",
    "convolutions",
    "wide convolutions",
    "feed-forward",
    "router",
    "dispatch",
    "recurrence",
    "elementwise",
    "products",
    "logits",
)

# What "Scale Efficiently" and "Scaling Laws vs Model Architectures" count as work and `forward` does not: look-ups and
# the dispatch of tokens to experts done as one-hot products, and products of one tensor with another element by
# element (`elementwise` those as wide as d_model, `products` the others).
ONLY_IN_PAPER = ("embedding", "dispatch", "elementwise", "products")
# Their counter has true convolutions in another column.
NOT_IN_PAPER = ("wide convolutions",)
# d_model is never split: what is as wide as that on both sides, every core of a model-parallel group does for itself.
REPLICATED = ("embedding projections", "convolutions", "router", "recurrence", "elementwise")
FLOAT32_BYTES = 4

# A backward pass costs two forward passes: one for the gradient of the activations, one for that of the weights.
TRAINING_PASSES = 3

SMALLEST_FACTORED = 128


@dataclass(frozen=True)
class Batch:
    """How much goes through the model at once: sequences, and tokens of each input and target.

    An image is a sequence of its patches, and its target one label.
    """

    sequences: int = 128
    inputs: int = 512
    targets: int = 114

    @property
    def tokens(self) -> int:
        """Tokens of inputs and targets together, or patches and class tokens: what "per token" divides by."""
        return self.sequences * (self.inputs + self.targets)


# The batch that a convention's figures are of, unless another one is asked for.
BATCHES: dict[Convention, Batch] = {
    "forward": Batch(),
    "training": Batch(),
    "paper": Batch(targets=128),  # the papers' 114 targets are padded to 128
}


def batch_of(spec: ModelSpec, convention: Convention = "forward", **given: int) -> Batch:
    """The batch that a model's figures are of, but for the fields that are given: a convention's, or one image."""
    default = BATCHES[convention] if spec.lengths is None else Batch(1, *spec.lengths)
    return replace(default, **given)


def flops(spec: ModelSpec, batch: Batch, convention: Convention, model_parallel: int = 1) -> dict[str, int]:
    """FLOPs of one batch, by component; components that the model does not have are left out.

    `forward`: twice the multiply-adds of the work really done in one forward pass. `training`: three times that, for
    the backward pass. `paper`: what the two papers print, the multiply-adds of one forward pass, not doubled, with
    embedding look-ups as one-hot products and elementwise products counted. The papers' batch is 128 x 512 inputs x 128
    targets, and theirs includes the work that each of `model_parallel` cores repeats, which the other conventions
    leave out; of vision transformers it is one image.

    Raises:
        ConfigurationError: the architecture does not take examples of these lengths.
    """
    counts = spec.multiply_adds(batch.inputs, batch.targets)
    if unknown := counts.keys() - set(COMPONENTS):
        raise ConfigurationError(
            f"{spec.architecture} counts multiply-adds as {min(unknown)!r}; components are {', '.join(COMPONENTS)}"
        )
    factor = {"paper": 1, "forward": 2, "training": 2 * TRAINING_PASSES}[convention]
    left_out = NOT_IN_PAPER if convention == "paper" else ONLY_IN_PAPER
    repeated = model_parallel if convention == "paper" else 1
    return {
        component: factor * batch.sequences * counts[component] * (repeated if component in REPLICATED else 1)
        for component in COMPONENTS
        if component not in left_out and counts[component]
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


def adafactor_state_size(shape: tuple[int, ...], local: tuple[int, ...] | None = None) -> int:
    """Numbers that Adafactor keeps for a weight, or for a device's `local` part of it: two factors or all moments."""
    local = local or shape
    axes = factored_axes(shape)
    if axes is None:
        return math.prod(local)
    return sum(math.prod(size for axis, size in enumerate(local) if axis != left_out) for left_out in axes)


def optimizer_bytes(spec: ModelSpec, optimizer: str) -> int:
    """Bytes of an optimizer's float32 state for the whole model: AdamW keeps two moments of each weight."""
    return 2 * weights_bytes(spec) if optimizer == "adamw" else adafactor_bytes(spec)


def adafactor_bytes(spec: ModelSpec) -> int:
    """Bytes of Adafactor's float32 state for the whole model."""
    sizes = (max(layers, 1) * adafactor_state_size(weight.shape) for layers, weight in spec.weights().values())
    return FLOAT32_BYTES * sum(sizes)
