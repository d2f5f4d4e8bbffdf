"""What every layer spec offers, and the norms."""

from __future__ import annotations

import abc
import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

VOCABULARY_ROWS = 32128  # 32,000 pieces and 100 sentinels, padded to a multiple of 128


@dataclass(frozen=True)
class Weight:
    """One weight: its shape, and the mean and standard deviation of the normal distribution that it is drawn from."""

    shape: tuple[int, ...]
    stddev: float = 0.0
    mean: float = 0.0

    @property
    def size(self) -> int:
        """Number of parameters."""
        return math.prod(self.shape)


def bias(width: int) -> Weight:
    """A bias [width], which starts at zero."""
    return Weight((width,))


def dense(inputs: int, outputs: int) -> Weight:
    """A matrix [inputs, outputs] that keeps the scale of what it is applied to."""
    return Weight((inputs, outputs), inputs**-0.5)


@dataclass(frozen=True)
class LayerSpec:
    """A layer's weights and costs; a layer that lacks one of them keeps the empty answer.

    Lengths are in tokens: `queries` is the length of the stack's own sequence, `memory` that of the encoder's output.
    Components of multiply-adds are the rows of `scalecli flops` (see `scalecli.costs.COMPONENTS`).
    """

    # Why examples that are packed into one row would see each other; None where they would not.
    packing_refused: ClassVar[str | None] = None

    def weights(self) -> dict[str, Weight]:
        """The weights of one copy of the layer, by name."""
        return {}

    @classmethod
    def keras_layer(cls) -> type:
        """The Keras layer of a user's spec, a subclass of `scalecli.api.layers.SpecLayer`.

        Asked for once, when a model is built: what needs Keras is imported in here, so that costs are known without it.
        """
        raise NotImplementedError(f"{cls.__name__} names no Keras layer: it lacks keras_layer()")

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Multiply-adds of one sequence in one forward pass, by component."""
        return Counter()

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """Numbers that one sequence's backward pass needs from the forward pass, by their dtype.

        `compute`: in the dtype of the matrix products; `float32`: always in that; `bool`: a byte each.
        """
        return Counter()


def biases_of(matrices: Mapping[str, Weight]) -> dict[str, Weight]:
    """A bias `NAME_bias` for the outputs of each matrix [inputs, outputs]."""
    return {f"{name}_bias": bias(matrix.shape[-1]) for name, matrix in matrices.items()}


def joined(parts: Mapping[str, LayerSpec]) -> dict[str, Weight]:
    """The weights of a layer that is made of parts, each by `PART/NAME`."""
    return {f"{part}/{name}": weight for part, layer in parts.items() for name, weight in layer.weights().items()}


@dataclass(frozen=True)
class Composite(LayerSpec):
    """A layer made of other layers, whose weights and costs are theirs."""

    @abc.abstractmethod
    def parts(self) -> dict[str, LayerSpec]:
        """The layers by name, in their order."""

    def weights(self) -> dict[str, Weight]:
        """The weights of each part as `PART/...`."""
        return joined(self.parts())

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """The sum over the parts."""
        return sum((part.multiply_adds(queries, memory) for part in self.parts().values()), Counter())

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The sum over the parts."""
        return sum((part.activations(queries, memory) for part in self.parts().values()), Counter())


@dataclass(frozen=True)
class Norm(LayerSpec):
    """RMS layer norm with a scale and no bias (T5, Raffel et al. 2020, section 2.1)."""

    d_model: int

    def weights(self) -> dict[str, Weight]:
        """`scale` [d_model]."""
        return {"scale": Weight((self.d_model,), mean=1.0)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Squares, the division by the root, the scale, and the padding mask: four products an element."""
        return Counter({"elementwise": 4 * queries * self.d_model})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """What is normalized, and what comes out."""
        return Counter({"compute": 2 * queries * self.d_model})


@dataclass(frozen=True)
class LayerNorm(Norm):
    """Layer norm by mean and variance, with scale and bias (Ba et al. 2016); Universal, Evolved and ViT have it."""

    epsilon: float = 1e-6  # added to the variance

    def weights(self) -> dict[str, Weight]:
        """`scale` and `bias` [d_model]."""
        return {**super().weights(), "bias": bias(self.d_model)}
