"""Stacks of layers: repeated blocks of residual sublayers."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

from scalecli.errors import ConfigurationError
from scalecli.specs.attention import PositionBias
from scalecli.specs.base import LayerSpec, Norm, Weight
from scalecli.specs.recurrence import Recurrence, TransformGates


@dataclass(frozen=True)
class Sublayer:
    """One residual step: x + Dropout(layer(Norm(x))); gates, where there are any, mix x into the layer's output."""

    name: str
    layer: LayerSpec
    norm: Norm
    gates: TransformGates | None = None

    def parts(self) -> dict[str, LayerSpec]:
        """What has weights here, by the prefix of their paths; the layer's own have none."""
        gates = {"gates/": self.gates} if self.gates else {}
        return {"norm/": self.norm, "": self.layer, **gates}


@dataclass(frozen=True)
class Pooling:
    """The mean of `window` neighboring positions of the residual stream (Funnel, Dai et al. 2020, section 2.2)."""

    window: int = 2
    packing_refused: ClassVar[str | None] = "pooling takes the mean of neighboring positions"

    def output_length(self, length: int) -> int:
        """Positions after pooling (see `Stack.output_length` for lengths that it does not divide)."""
        return length // self.window


@dataclass(frozen=True)
class Block:
    """Sublayers in order, poolings among them; the unit that a stack repeats."""

    sublayers: tuple[Sublayer | Pooling, ...]

    def residuals(self) -> tuple[Sublayer, ...]:
        """The sublayers without the poolings: what has weights."""
        return tuple(step for step in self.sublayers if isinstance(step, Sublayer))

    @property
    def pools(self) -> bool:
        """Whether it changes the length."""
        return any(isinstance(step, Pooling) for step in self.sublayers)


@dataclass(frozen=True)
class Repeat:
    """A block `times` over, each time with weights of its own unless they are `shared`."""

    block: Block
    times: int
    shared: bool = False

    @property
    def copies(self) -> int:
        """How many layers' weights are stacked on a leading axis; 0 is one layer's, without that axis."""
        return 0 if self.shared else self.times


@dataclass(frozen=True)
class Stack:
    """An encoder or a decoder: repeated blocks, the position biases of its self-attention, a final norm.

    There is one position bias for each number of heads. With a recurrence all repeats are run several times.
    """

    repeats: tuple[Repeat, ...]
    position_biases: tuple[PositionBias, ...]
    final_norm: Norm
    recurrence: Recurrence | None = None

    def weights(self) -> dict[str, tuple[int, Weight]]:
        """The stack's weights as in `ModelSpec.weights`, by paths without `encoder/` or `decoder/`."""
        weights: dict[str, tuple[int, Weight]] = {}

        def add(prefix: str, layer: LayerSpec, copies: int = 0) -> None:
            weights.update({f"{prefix}{name}": (copies, weight) for name, weight in layer.weights().items()})

        for name, position_bias in self.named_position_biases():
            add(f"{name}/", position_bias)
        for number, repeat in enumerate(self.repeats):
            for sublayer in repeat.block.residuals():
                for prefix, part in sublayer.parts().items():
                    add(f"{number}/{sublayer.name}/{prefix}", part, repeat.copies)
        if self.recurrence is not None:
            add("recurrence/", self.recurrence)
        add("final_norm/", self.final_norm)
        return weights

    def named_position_biases(self) -> Iterator[tuple[str, PositionBias]]:
        """The position biases by name: `position_bias`, `position_bias_2` ..."""
        for number, position_bias in enumerate(self.position_biases, start=1):
            yield "position_bias" if number == 1 else f"position_bias_{number}", position_bias

    @property
    def pooled(self) -> int:
        """How many positions become one on the way through the stack."""
        sublayers = (sublayer for repeat in self.repeats for sublayer in repeat.block.sublayers)
        return math.prod(sublayer.window for sublayer in sublayers if isinstance(sublayer, Pooling))

    def output_length(self, length: int) -> int:
        """Positions that come out of the stack.

        Raises:
            ConfigurationError: a pooling does not divide the length.
        """
        if length % self.pooled:
            raise ConfigurationError(
                f"the encoder pools its inputs by {self.pooled}, and they are {length} long; "
                f"a multiple of {self.pooled} is accepted"
            )
        return length // self.pooled

    def layers(self, queries: int, memory: int) -> Iterator[tuple[int, list[tuple[LayerSpec, int]]]]:
        """How often each block is run, and its parts with the length that each sees."""
        passes = self.recurrence.passes if self.recurrence else 1
        for repeat in self.repeats:
            parts: list[tuple[LayerSpec, int]] = []
            for step in repeat.block.sublayers:
                if isinstance(step, Pooling):
                    queries = step.output_length(queries)
                else:
                    parts += [(part, queries) for part in step.parts().values()]
            yield passes * repeat.times, parts

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Multiply-adds of one sequence through the whole stack, by component."""
        total = self.final_norm.multiply_adds(self.output_length(queries), memory)
        for times, parts in self.layers(queries, memory):
            for part, length in parts:
                for component, count in part.multiply_adds(length, memory).items():
                    total[component] += times * count
        if self.recurrence is not None:
            for component, count in self.recurrence.multiply_adds(queries, memory).items():
                total[component] += self.recurrence.passes * count
        return total
