"""Feed-forward networks over channels and, in MLP-Mixer, across positions. keras.ops only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.compiled import materialized
from scalecli.models.dropout import Dropout
from scalecli.models.layers.base import Context, SpecLayer, Weights, projection

_CUBIC = 0.044715


@ops.custom_gradient
def gelu(x: Any) -> tuple[Any, Callable[[Any], Any]]:
    """The tanh approximation, as in T5 v1.1 (Hendrycks and Gimpel 2016, section 2). The backward pass keeps x alone."""

    def gradient(upstream: Any) -> Any:
        wide = ops.cast(x, "float32")
        square = ops.square(wide)
        tanh = ops.tanh(math.sqrt(2 / math.pi) * wide * (1 + _CUBIC * square))
        d_tanh = math.sqrt(2 / math.pi) * (1 + 3 * _CUBIC * square) * (1 - ops.square(tanh))
        return ops.cast(ops.cast(upstream, "float32") * 0.5 * (1 + tanh + wide * d_tanh), x.dtype)

    return ops.gelu(x, approximate=True), gradient


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "gelu": gelu,
    "erf_gelu": lambda x: ops.gelu(x, approximate=False),
}


class FeedForward(SpecLayer):
    """activation(x W_input) W_output, or gated: (activation(x W_gate) * x W_input) W_output (Shazeer 2020, eq. 6)."""

    spec: specs.FeedForward
    positionwise = True

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        activation = ACTIVATIONS[self.spec.activation]
        hidden = projection(weights, "input", x)  # [batch, length, d_ff]
        hidden = activation(projection(weights, "gate", x)) * hidden if self.spec.gated else activation(hidden)
        (hidden,) = materialized(dropout(hidden))  # or both products that read it would compute it
        return projection(weights, "output", hidden)


class TokenMixing(SpecLayer):
    """GELU(x^T W_input) W_output, transposed back: each channel's positions (MLP-Mixer, Tolstikhin et al. 2021, eq. 1).

    `x` is zero at padding. A sequence shorter than the spec's `positions` is mixed as if padding made it that long.
    """

    spec: specs.TokenMixing

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        length = x.shape[1]
        channels = ops.transpose(x, (0, 2, 1))  # [batch, d_model, length]
        hidden = gelu(ops.matmul(channels, weights["input"][:length]))  # [batch, d_model, d_ff]
        return ops.transpose(ops.matmul(dropout(hidden), weights["output"][:, :length]), (0, 2, 1))
