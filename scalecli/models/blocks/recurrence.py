"""Passes of a stack over the same layers (Universal Transformer, Dehghani et al. 2019). keras.ops only.

All passes are one loop, around the loop over layers, so that program size grows with neither. The number of passes is
static: positions that have halted are masked, not skipped.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.blocks.scan import scan, scan_with_state
from scalecli.models.layers import SpecLayer, Weights
from scalecli.models.layers.base import LayerNorm

Norm = Callable[[Any], Any]


class Recurrence(SpecLayer):
    """One pass after another, `basic`; the base of the other ways to put passes together."""

    spec: specs.Recurrence
    per_pass = False  # whether each pass has weights of its own, stacked on a leading axis

    def split(self, weights: Weights) -> tuple[Weights, Weights]:
        """The weights that all passes share, and those [passes, ...] of which each has its own."""
        return ({}, weights) if self.per_pass else (weights, {})

    def run_passes(
        self, one_pass: Callable[[Any, Any], tuple[Any, Any]], x: Any, reports: Any, norm: Norm
    ) -> tuple[Weights, Any]:
        """`x` [batch, length, d_model] through all passes; returns the last carry and the changed reports.

        Args:
            one_pass: `one_pass(index, x)` runs all layers once, and returns the new x and a pass's reports.
            x: What the stack reads.
            reports: A nest of tensors [passes, ...], whose places those of the passes take.
            norm: The stack's final norm.
        """
        shared, stacked = self.split(self.weights_for_compute())

        def body(index: Any, carry: Weights, own: Weights, shared: Weights) -> tuple[Weights, Any]:
            transformed, report = one_pass(index, carry["x"])
            return self.mixed({**shared, **own}, carry, transformed, x, norm), report

        return scan(body, self.start(x), stacked, shared, reports, self.spec.passes)

    def step_passes(
        self,
        one_pass: Callable[[Any, Any], tuple[Any, Any]],
        weights: tuple[Weights, Any],
        x: Any,
        state: Any,
        norm: Norm,
    ) -> tuple[Weights, Any]:
        """One token `x` [batch, 1, d_model] through all passes; returns the last carry and the changed state.

        Args:
            one_pass: `one_pass(x, state)` runs all layers once, and returns the new x and state.
            weights: From `split`.
            x: What the stack reads.
            state: The decoding states [passes, ...] of the layers.
            norm: The stack's final norm.
        """
        shared, stacked = weights

        def body(_: Any, carry: Weights, own: Weights, state: Any) -> tuple[Weights, Any]:
            transformed, state = one_pass(carry["x"], state)
            return self.mixed({**shared, **own}, carry, transformed, x, norm), state

        return scan_with_state(body, self.start(x), stacked, state, self.spec.passes)

    def start(self, x: Any) -> Weights:
        """What goes from pass to pass; its `x` is what the layers read."""
        return {"x": x}

    def mixed(self, weights: Weights, carry: Weights, transformed: Any, inputs: Any, norm: Norm) -> Weights:
        """What the next pass gets, from what this one got and what the layers made of its `x`."""
        return {"x": transformed}

    def output(self, carry: Weights) -> Any:
        """[batch, length, d_model] after the last pass."""
        return carry["x"]

    def reports(self, carry: Weights, real: Any) -> Weights:
        """float32 scalars about the passes; means over the positions where `real` [batch, length, 1] is 1."""
        return {}


class AdaptiveRecurrence(Recurrence):
    """`act`, adaptive computation time (Graves 2016, section 2.1; Dehghani et al. 2019, section 2.2 and appendix C).

    Before each pass a position halts with probability p = sigmoid(state w + b). It stops in the pass in which the sum
    of its p exceeds 1 - epsilon; there p is replaced by the remainder, 1 minus the sum of those before. The output goes
    from itself to the new state by that share: output <- p * transformed + (1 - p) * output.
    """

    def start(self, x: Any) -> Weights:
        """What the layers read, the output and, float32 [batch, length, 1], what each position has come to."""
        nothing = ops.zeros((*x.shape[:2], 1))
        per_position = {"halting": nothing, "remainder": nothing, "passes": nothing, "running": nothing + 1}
        return {"x": x, "output": ops.zeros_like(x), **per_position}

    def mixed(self, weights: Weights, carry: Weights, transformed: Any, inputs: Any, norm: Norm) -> Weights:
        """A halted position still runs, since others attend to it, but its output no longer changes."""
        running, halting = carry["running"], carry["halting"]
        score = ops.matmul(ops.cast(carry["x"], "float32"), ops.cast(weights["halting"], "float32"))
        probability = ops.sigmoid(score + ops.cast(weights["halting_bias"], "float32"))
        goes_on = ops.cast(halting + probability <= 1 - self.spec.epsilon, "float32")
        # While a position runs, its remainder is what is left before the pass (Graves 2016, equation 6).
        remainder = running * (1 - halting) + (1 - running) * carry["remainder"]
        share = running * (goes_on * probability + (1 - goes_on) * remainder)
        output = ops.cast(carry["output"], "float32")
        output = output + share * (ops.cast(transformed, "float32") - output)
        return {
            "x": transformed,
            "output": ops.cast(output, transformed.dtype),
            "halting": halting + share,
            "remainder": remainder,
            "passes": carry["passes"] + running,
            "running": running * goes_on,
        }

    def output(self, carry: Weights) -> Any:
        """[batch, length, d_model] after the last pass."""
        return carry["output"]

    def reports(self, carry: Weights, real: Any) -> Weights:
        """`remainder` R, and `ponder_time` N + R for N passes (Graves 2016, equation 8)."""
        positions = ops.maximum(ops.sum(real), 1.0)
        remainder = ops.sum(carry["remainder"] * real) / positions
        return {"ponder_time": ops.sum(carry["passes"] * real) / positions + remainder, "remainder": remainder}


class HighwayRecurrence(Recurrence):
    """`highway`: t * transformed + (1 - t) * state with t = sigmoid(W [state, transformed, inputs] + b), W of the pass.

    The three are normalized by the stack's final norm (Srivastava et al. 2015, equation 3, over the passes).
    """

    per_pass = True

    def mixed(self, weights: Weights, carry: Weights, transformed: Any, inputs: Any, norm: Norm) -> Weights:
        """What the gate lets through."""
        x = carry["x"]
        gate_inputs = ops.concatenate([norm(x), norm(transformed), norm(inputs)], axis=-1)
        transform = ops.sigmoid(ops.matmul(gate_inputs, weights["gate"]) + weights["gate_bias"])
        return {"x": x + transform * (transformed - x)}


RECURRENCES: dict[str, type[Recurrence]] = {
    "basic": Recurrence,
    "act": AdaptiveRecurrence,
    "highway": HighwayRecurrence,
}


class TransformGates(SpecLayer):
    """carry * x + transform * y in the place of a sublayer's output y, with gates sigmoid(Norm(x) W + b).

    As in the papers' code: the residual stream is added all the same, and the carry gate's x is normalized twice.
    """

    spec: specs.TransformGates

    def weights_for_compute(self) -> Weights:
        """The norm's weights stay float32."""
        kept = {name: ops.cast(self.owned[name], "float32") for name in ("norm_scale", "norm_bias")}
        return {**super().weights_for_compute(), **kept}

    def call(self, weights: Weights, x: Any, y: Any, norm: LayerNorm) -> Any:
        """x, the residual stream, and y, both [batch, length, d_model] -> what is added to the stream.

        `norm` is a layer that normalizes with the weights that it is given.
        """
        norm_weights = {"scale": weights["norm_scale"], "bias": weights["norm_bias"]}
        once = norm(norm_weights, x)
        transform = ops.sigmoid(ops.matmul(once, weights["transform"]) + weights["transform_bias"])
        carry = ops.sigmoid(ops.matmul(norm(norm_weights, once), weights["carry"]) + weights["carry_bias"])
        return carry * x + transform * y
