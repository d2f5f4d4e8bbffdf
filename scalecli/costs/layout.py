"""Which part of a model each device holds when its layers are split over several devices. Pure Python.

As Mesh-TensorFlow laid out both papers' models: the devices of a replica share heads, d_ff and the vocabulary among
them, and experts are spread over the replicas. Every device holds the whole of a weight that has none of these axes,
and of a head for classes whose number does not divide.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from scalecli.costs.hardware import Machine
from scalecli.errors import ConfigurationError
from scalecli.specs import (
    Attention,
    Embedding,
    FeedForward,
    LayerSpec,
    Logits,
    MixtureOfExperts,
    MixtureOfSoftmaxes,
    ModelSpec,
    Parallel,
    PositionBias,
    TokenMixing,
)

DATA, MODEL = "data", "model"  # the axes of a mesh of devices


@dataclass(frozen=True)
class LocalWeight:
    """A weight's shape in the whole model and on one device, and how many layers have one.

    `spread`: other replicas hold other parts of it.
    """

    copies: int
    whole: tuple[int, ...]
    local: tuple[int, ...]
    spread: bool

    @property
    def size(self) -> int:
        """Numbers that one device holds."""
        return self.copies * math.prod(self.local)


def local_weights(spec: ModelSpec, machine: Machine) -> Iterator[LocalWeight]:
    """Every weight as one device has it.

    Raises:
        ConfigurationError: heads, d_ff or the vocabulary do not divide over a replica's devices.
    """
    for copies, layer in _owners(spec):
        split = _split_axes(layer, machine.model_parallel)
        for name, weight in layer.weights().items():
            local = list(weight.shape)
            if name in split:
                local[split[name]] //= machine.model_parallel
            holders = 1
            if isinstance(layer, MixtureOfExperts) and name != "router":
                holders = math.gcd(layer.experts, machine.replicas)
                local[0] //= holders
            yield LocalWeight(copies, weight.shape, tuple(local), spread=holders > 1)


def mesh_axes(layer: LayerSpec, model_parallel: int, replicas: int) -> dict[str, tuple[str | None, ...]]:
    """The axis of a (data, model) mesh that each axis of a layer's weights is split over, None where it is whole.

    Experts are spread over the replicas where these divide their number.

    Raises:
        ConfigurationError: heads, d_ff or the vocabulary do not divide into `model_parallel` parts.
    """
    if isinstance(layer, Parallel):
        axes_of = [(name, mesh_axes(branch, model_parallel, replicas)) for name, branch in layer.branches]
        inside = {f"{name}/{weight}": axes for name, inner in axes_of for weight, axes in inner.items()}
        return {name: inside[name] for name in layer.weights()}
    split, axes_by_weight = _split_axes(layer, model_parallel), {}
    for name, weight in layer.weights().items():
        axes: list[str | None] = [MODEL if split.get(name) == axis else None for axis in range(len(weight.shape))]
        if isinstance(layer, MixtureOfExperts) and name != "router" and layer.experts % replicas == 0:
            axes[0] = DATA
        axes_by_weight[name] = tuple(axes)
    return axes_by_weight


def local_activations(layer: LayerSpec, whole: int, parts: int) -> int:
    """A device's part of a layer's activations: what is heads, d_ff or vocabulary wide is split, the rest is not."""
    match layer:
        case Attention() | FeedForward() | TokenMixing() | Logits() | MixtureOfSoftmaxes():
            return whole // parts
        case MixtureOfExperts():
            hidden = whole * layer.d_ff // (layer.d_ff + layer.d_model)
            return whole - hidden + hidden // parts
    return whole


def adds_up_over_devices(layer: LayerSpec) -> bool:
    """Whether a split layer's output, or that of its backward pass, is a sum that its devices have to reduce."""
    ends = (Embedding, Logits, MixtureOfSoftmaxes)
    return isinstance(layer, (Attention, FeedForward, MixtureOfExperts, TokenMixing, *ends))


def branches(layer: LayerSpec) -> list[LayerSpec]:
    """The layers that a parallel layer consists of; any other is itself."""
    return [branch for _, branch in layer.branches] if isinstance(layer, Parallel) else [layer]


def _owners(spec: ModelSpec) -> Iterator[tuple[int, LayerSpec]]:
    """Every layer that has weights, and how many copies of them there are."""
    yield 1, spec.embedding
    yield 1, spec.logits
    for stack in spec.stacks().values():
        for _, position_bias in stack.named_position_biases():
            yield 1, position_bias
        for repeat in stack.repeats:
            for sublayer in repeat.block.residuals():
                for part in sublayer.parts().values():
                    for branch in branches(part):
                        yield max(repeat.copies, 1), branch
        if stack.recurrence is not None:
            yield 1, stack.recurrence
        yield 1, stack.final_norm


def _split_axes(layer: LayerSpec, parts: int) -> dict[str, int]:
    """Which axis of which of a layer's weights is split.

    Raises:
        ConfigurationError: heads, d_ff or vocabulary do not divide into that many parts.
    """
    what, size, axes = "", 0, {}
    match layer:
        case Attention():
            what, size, axes = "heads", layer.heads, {"query": 1, "query_bias": 0, "output": 0}
            if not layer.shared_heads:
                axes |= {"key": 1, "value": 1, "key_value": 1, "key_bias": 0, "value_bias": 0, "key_value_bias": 0}
        case PositionBias():
            what, size, axes = "heads", layer.heads, {"table": 0}
        case FeedForward() | TokenMixing():
            what, size, axes = "d_ff", layer.d_ff, {"gate": 1, "input": 1, "output": 0, "gate_bias": 0, "input_bias": 0}
        case MixtureOfExperts():
            what, size, axes = "d_ff", layer.d_ff, {"input": 2, "output": 1}
        case Embedding():
            what, size, axes = "vocabulary", layer.vocabulary, {"table": 0}
        # Classes are as many as the images have: where they do not divide, each device has the whole head.
        case Logits() if not layer.biased or layer.classes % parts == 0:
            what, size, axes = "vocabulary", layer.classes, {"kernel": 1, "bias": 0}
    if size % parts:
        raise ConfigurationError(f"--model-parallel {parts} does not divide {what} {size}")
    return axes
