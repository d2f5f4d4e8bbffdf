"""The position-wise feed-forward layer, and token mixing. keras.ops only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.dropout import Dropout
from scalecli.models.layers.base import Context, SpecLayer, Weights, projection

ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "gelu": lambda x: ops.gelu(x, approximate=True),  # the tanh approximation, as in T5 v1.1
    "erf_gelu": lambda x: ops.gelu(x, approximate=False),
}


class FeedForward(SpecLayer):
    """activation(x W_input) W_output, or gated: (activation(x W_gate) * x W_input) W_output (Shazeer 2020, eq. 6)."""

    spec: specs.FeedForward

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        activation = ACTIVATIONS[self.spec.activation]
        hidden = projection(weights, "input", x)  # [batch, length, d_ff]
        hidden = activation(projection(weights, "gate", x)) * hidden if self.spec.gated else activation(hidden)
        return projection(weights, "output", dropout(hidden))
