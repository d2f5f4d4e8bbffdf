"""MLP-Mixer's feed-forward network across positions. keras.ops only."""

from __future__ import annotations

from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.dropout import Dropout
from scalecli.models.layers.base import Context, SpecLayer, Weights
from scalecli.models.layers.feed_forward import ACTIVATIONS


class TokenMixing(SpecLayer):
    """GELU(x^T W_input) W_output, transposed back: each channel's positions (MLP-Mixer, Tolstikhin et al. 2021, eq. 1).

    `x` is zero at padding. A sequence shorter than the spec's `positions` is mixed as if padding made it that long.
    """

    spec: specs.TokenMixing

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        length = x.shape[1]
        channels = ops.transpose(x, (0, 2, 1))  # [batch, d_model, length]
        hidden = ACTIVATIONS["gelu"](ops.matmul(channels, weights["input"][:length]))  # [batch, d_model, d_ff]
        return ops.transpose(ops.matmul(dropout(hidden), weights["output"][:, :length]), (0, 2, 1))
