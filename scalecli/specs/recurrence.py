"""Layers that are run several times over the same positions (Universal Transformer, Dehghani et al. 2019)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from scalecli.specs.base import LayerSpec, Weight, bias, dense

RecurrenceType = Literal["basic", "act", "highway"]


@dataclass(frozen=True)
class TransformGates(LayerSpec):
    """carry * x + transform * layer(Norm(x)) instead of a sublayer's output, with sigmoid gates from a normed x.

    The residual stream is added all the same.
    """

    d_model: int

    def weights(self) -> dict[str, Weight]:
        """`transform` and `carry` [d_model, d_model] with biases; `norm_scale` and `norm_bias` [d_model]."""
        matrix = dense(self.d_model, self.d_model)
        return {
            "norm_scale": Weight((self.d_model,), mean=1.0),
            "norm_bias": bias(self.d_model),
            "transform": matrix,
            "transform_bias": bias(self.d_model),
            "carry": matrix,
            "carry_bias": bias(self.d_model),
        }

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Two matrices, two norms, two products."""
        width = queries * self.d_model
        return Counter({"recurrence": 2 * width * self.d_model, "elementwise": 10 * width})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The gates and what they multiply."""
        return Counter({"compute": 6 * queries * self.d_model})


@dataclass(frozen=True)
class Recurrence(LayerSpec):
    """How the passes of a stack over its layers are put together; costs are those of one pass beyond its layers.

    `basic`: `steps` passes one after another. `act`: adaptive computation time: each position stops when the sum of its
    halting probabilities exceeds 1 - `epsilon`, at most `steps` + 1 passes are made, and after each the output moves
    towards the new state by that pass's probability (Universal Transformer, appendix C; Graves 2016, section 2).
    `highway`: after each pass a gate of that pass mixes the new state with the old one.
    """

    d_model: int
    steps: int
    type: RecurrenceType = "act"
    epsilon: float = 0.1

    @property
    def passes(self) -> int:
        """Times that the layers are run."""
        return self.steps + 1 if self.type == "act" else self.steps

    def weights(self) -> dict[str, Weight]:
        """act: `halting` [d_model, 1], `halting_bias` [1]; highway: `gate` [steps, 3 d_model, d_model] and its bias."""
        width = self.d_model
        if self.type == "act":
            return {"halting": dense(width, 1), "halting_bias": Weight((1,), mean=1.0)}
        if self.type == "highway":
            gate = Weight((self.steps, 3 * width, width), (3 * width) ** -0.5)
            return {"gate": gate, "gate_bias": Weight((self.steps, width))}
        return {}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """The halting unit or the gate, and the mixing of the states."""
        width = queries * self.d_model
        if self.type == "act":
            return Counter({"recurrence": width, "elementwise": 2 * width})
        if self.type == "highway":
            return Counter({"recurrence": 3 * width * self.d_model, "elementwise": 2 * width})
        return Counter()

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The states that are mixed, and the gate."""
        states = {"basic": 0, "act": 2, "highway": 3}[self.type]
        return Counter({"compute": states * queries * self.d_model})
