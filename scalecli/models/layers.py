"""The Keras layer of each layer spec. keras.ops only, so that every backend runs them.

A layer owns the weights that its spec lists, stacked over the layers of a scan (a leading axis [layers]), and
computes with the slice of one layer that it is handed:

    call(weights, x, context)                    whole sequences, x [batch, length, d_model]
    constants(weights, context)                  what decoding computes once for the encoder's output
    initial_state(batch, length, dtype)          what decoding keeps from token to token, for `length` tokens
    step(weights, x, constants, state, context)  one token, x [batch, 1, d_model]; returns output and state

Weights and activations come in the compute dtype; norms and softmax are float32.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from scalecli import specs
from scalecli.models.dropout import Dropout

Weights = dict[str, Any]
MASKED = -1e9  # added to the scores of positions that must not be seen


@dataclass(frozen=True)
class Context:
    """What a stack's layers share.

    `position_bias` [1, heads, queries, keys] and `self_mask`, `cross_mask` [batch, 1, queries, keys] are float32 and
    added to attention scores; `memory` [batch, memory, d_model] is the encoder's output; `position` (int32 scalar) is
    the place of the one token of a decoding step.
    """

    position_bias: Any
    self_mask: Any
    memory: Any = None
    cross_mask: Any = None
    position: Any = None


class SpecLayer(keras.layers.Layer):
    """A layer built from its spec: owns `spec.weights()`, each with a leading axis when `layers` is not 0."""

    def __init__(self, spec: Any, layers: int = 0, **options: Any) -> None:
        super().__init__(autocast=False, **options)
        self.spec = spec
        self.owned = {
            name: self.add_weight(
                name=name,
                shape=((layers,) if layers else ()) + weight.shape,
                initializer="ones" if weight.stddev is None else keras.initializers.RandomNormal(0.0, weight.stddev),
                autocast=False,
            )
            for name, weight in spec.weights().items()
        }
        for variable in self.owned.values():
            # Adafactor treats each layer's slice as a weight of its own.
            variable.stacked = layers > 0
        self.built = True

    def weights_for_compute(self) -> Weights:
        """The weights as tensors of the compute dtype."""
        return {name: ops.cast(variable, self.compute_dtype) for name, variable in self.owned.items()}

    def constants(self, weights: Weights, context: Context) -> Weights:
        """Nothing, unless the layer looks at the encoder's output."""
        return {}

    def initial_state(self, batch: int, length: int, dtype: str) -> Weights:
        """Nothing, unless the layer looks at earlier tokens."""
        return {}


class RMSNorm(SpecLayer):
    """x / sqrt(mean(x^2) + 1e-6) * scale over the last axis, in float32 (T5, section 2.1)."""

    def weights_for_compute(self) -> Weights:
        """The scale stays float32."""
        return {"scale": ops.convert_to_tensor(self.owned["scale"])}

    def call(self, weights: Weights, x: Any) -> Any:
        """[..., d_model] -> [..., d_model]."""
        wide = ops.cast(x, "float32")
        mean_square = ops.mean(ops.square(wide), axis=-1, keepdims=True)
        return ops.cast(wide * ops.rsqrt(mean_square + 1e-6) * weights["scale"], x.dtype)


class Attention(SpecLayer):
    """Multi-head attention (T5, section 2.1): softmax(Q K^T + bias + mask) V, without 1/sqrt(d_kv)."""

    spec: specs.Attention

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, queries, d_model] -> [batch, queries, d_model]."""
        source = context.memory if self.spec.cross else x
        keys, values = self._heads(source, weights["key"]), self._heads(source, weights["value"])
        mask = context.cross_mask if self.spec.cross else context.self_mask
        bias = None if self.spec.cross else context.position_bias
        return self._attend(weights, x, keys, values, bias, mask, dropout)

    def constants(self, weights: Weights, context: Context) -> Weights:
        """Keys and values of the encoder's output [batch, heads, memory, d_kv], for cross-attention."""
        if not self.spec.cross:
            return {}
        return {name: self._heads(context.memory, weights[name]) for name in ("key", "value")}

    def initial_state(self, batch: int, length: int, dtype: str) -> Weights:
        """Room for the keys and values of `length` tokens [batch, heads, length, d_kv], for self-attention."""
        if self.spec.cross:
            return {}
        shape = (batch, self.spec.heads, length, self.spec.d_kv)
        return {name: ops.zeros(shape, dtype) for name in ("key", "value")}

    def step(
        self, weights: Weights, x: Any, constants: Weights, state: Weights, context: Context
    ) -> tuple[Any, Weights]:
        """One token x [batch, 1, d_model], after its key and value have joined those of the tokens before it."""
        if self.spec.cross:
            keys, values, bias, mask = constants["key"], constants["value"], None, context.cross_mask
        else:
            state = {
                name: ops.slice_update(cached, (0, 0, context.position, 0), self._heads(x, weights[name]))
                for name, cached in state.items()
            }
            keys, values, bias, mask = state["key"], state["value"], context.position_bias, context.self_mask
        return self._attend(weights, x, keys, values, bias, mask, Dropout(0.0)), state

    def _heads(self, x: Any, kernel: Any) -> Any:
        """[batch, length, d_model] -> [batch, heads, length, d_kv]."""
        projected = ops.reshape(ops.matmul(x, kernel), (*x.shape[:2], self.spec.heads, self.spec.d_kv))
        return ops.transpose(projected, (0, 2, 1, 3))

    def _attend(self, weights: Weights, x: Any, keys: Any, values: Any, bias: Any, mask: Any, dropout: Dropout) -> Any:
        queries = self._heads(x, weights["query"])
        scores = ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2)))  # [batch, heads, queries, keys]
        scores = ops.cast(scores, "float32") + mask
        if bias is not None:
            scores = scores + bias
        shares = dropout(ops.cast(ops.softmax(scores, axis=-1), x.dtype))
        mixed = ops.transpose(ops.matmul(shares, values), (0, 2, 1, 3))  # [batch, queries, heads, d_kv]
        return ops.matmul(ops.reshape(mixed, (*x.shape[:2], self.spec.inner)), weights["output"])


ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": ops.relu,
    "gelu": lambda x: ops.gelu(x, approximate=True),  # the tanh approximation, as in T5 v1.1
}


class FeedForward(SpecLayer):
    """activation(x W_input) W_output, or gated: (activation(x W_gate) * x W_input) W_output (Shazeer 2020, eq. 6)."""

    spec: specs.FeedForward

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        activation = ACTIVATIONS[self.spec.activation]
        hidden = ops.matmul(x, weights["input"])  # [batch, length, d_ff]
        hidden = activation(ops.matmul(x, weights["gate"])) * hidden if self.spec.gated else activation(hidden)
        return ops.matmul(dropout(hidden), weights["output"])

    def step(
        self, weights: Weights, x: Any, constants: Weights, state: Weights, context: Context
    ) -> tuple[Any, Weights]:
        """Each token by itself."""
        return self.call(weights, x, context, Dropout(0.0)), state


class PositionBias(SpecLayer):
    """Bias on the scores by the bucket of the distance between key and query (T5, section 2.1)."""

    spec: specs.PositionBias

    def call(self, queries: int, keys: int) -> Any:
        """float32 [1, heads, queries, keys] for positions counted from 0."""
        period = queries + keys
        # Entry d modulo the period is the bias of distance d = key - query; the one that is neither is never read.
        distances = np.arange(period)
        distances = np.where(distances < keys, distances, distances - period)
        one_hot = np.eye(self.spec.buckets, dtype="float32")[relative_buckets(distances, self.spec)]
        by_distance = ops.matmul(ops.convert_to_tensor(self.owned["table"]), one_hot.T)  # [heads, period]
        # Repeating rows of one period and reading them with rows one shorter moves each row on by one distance.
        skewed = ops.tile(by_distance, (1, queries))[:, : queries * (period - 1)]
        return ops.reshape(skewed, (1, self.spec.heads, queries, period - 1))[..., :keys]


def relative_buckets(distances: np.ndarray, spec: specs.PositionBias) -> np.ndarray:
    """Bucket of each distance (key position - query position): exact when near, logarithmic further off."""
    buckets, offset = spec.buckets, np.zeros_like(distances)
    if spec.bidirectional:
        buckets //= 2
        offset = np.where(distances > 0, buckets, 0)
        behind = np.abs(distances)
    else:
        behind = np.maximum(-distances, 0)
    exact = buckets // 2
    # float32 throughout: the borders between buckets are where the original's float32 arithmetic put them.
    ratio = np.log(np.maximum(behind, 1).astype("float32") / np.float32(exact))
    ratio = ratio / np.float32(np.log(spec.max_distance / exact))
    far = exact + (ratio * np.float32(buckets - exact)).astype("int32")
    return offset + np.where(behind < exact, behind, np.minimum(far, buckets - 1))


LAYERS: dict[type, type[SpecLayer]] = {
    specs.Attention: Attention,
    specs.FeedForward: FeedForward,
}
