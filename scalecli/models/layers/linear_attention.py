"""Attention that is linear in the length (Performer, Choromanski et al. 2021). keras.ops only."""

from __future__ import annotations

from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.dropout import Dropout
from scalecli.models.layers.attention import Attention
from scalecli.models.layers.base import Context, Weights
from scalecli.models.linear_algebra import product


class LinearAttention(Attention):
    """phi(Q) (phi(K)^T V) / phi(Q) sum phi(K) with phi(x) = ReLU(x) + epsilon (Performer, section 2.2 and eq. 5).

    The causal one sums over the keys up to each position: within chunks by a masked product, and over the chunks
    before by a running sum.
    """

    spec: specs.LinearAttention

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]; keys at padding count for nothing."""
        queries, keys, values = self._features(weights, x)  # [batch, heads, length, d_kv]
        keys = keys * ops.cast(context.real, keys.dtype)[:, None]
        mixed = self._causal(queries, keys, values) if self.spec.causal else self._bidirectional(queries, keys, values)
        return self._output(weights, mixed)

    def initial_state(self, batch: int, length: int, dtype: str) -> Weights:
        """Running sums: of keys x values [batch, key_heads, d_kv, d_kv] and of keys [batch, key_heads, 1, d_kv]."""
        shape = (batch, self.spec.key_heads)
        width = self.spec.d_kv
        return {"sums": ops.zeros((*shape, width, width)), "keys": ops.zeros((*shape, 1, width))}

    def step(
        self, weights: Weights, x: Any, constants: Weights, state: Weights, context: Context
    ) -> tuple[Any, Weights]:
        """One token x [batch, 1, d_model], after its key and value have joined the sums."""
        queries, keys, values = (ops.cast(x, "float32") for x in self._features(weights, x))
        state = {
            "sums": state["sums"] + product(keys, values, transpose_a=True),
            "keys": state["keys"] + keys,
        }
        total = product(queries, state["keys"], transpose_b=True)
        return self._output(weights, ops.cast(ops.matmul(queries, state["sums"]) / total, x.dtype)), state

    def _features(self, weights: Weights, x: Any) -> tuple[Any, Any, Any]:
        cached = self._keys_and_values(weights, x)
        keys, values = (cached[self._projections()[number]] for number in (0, -1))
        queries = self._queries(weights, x)
        return ops.relu(queries) + self.spec.epsilon, ops.relu(keys) + self.spec.epsilon, values

    def _bidirectional(self, queries: Any, keys: Any, values: Any) -> Any:
        sums = product(keys, values, transpose_a=True)  # [batch, key_heads, d_kv, d_kv]
        total = ops.sum(ops.cast(keys, "float32"), axis=2, keepdims=True)
        return _divided(ops.matmul(queries, sums), product(ops.cast(queries, "float32"), total, transpose_b=True))

    def _causal(self, queries: Any, keys: Any, values: Any) -> Any:
        length = queries.shape[2]
        chunk = min(self.spec.chunk, length)
        queries, keys, values = (_chunked(x, chunk) for x in (queries, keys, values))
        earlier = ops.tril(ops.ones((chunk, chunk), queries.dtype))
        scores = product(queries, keys, transpose_b=True) * earlier  # [batch, heads, chunks, chunk, chunk]
        sums = _sums_before(product(keys, values, transpose_a=True))  # [batch, key_heads, chunks, d_kv, d_kv]
        totals = _sums_before(ops.sum(ops.cast(keys, "float32"), axis=3, keepdims=True))
        mixed = ops.matmul(scores, values) + ops.matmul(queries, ops.cast(sums, queries.dtype))
        total = ops.sum(ops.cast(scores, "float32"), axis=-1, keepdims=True)
        total = total + product(ops.cast(queries, "float32"), totals, transpose_b=True)
        mixed = _divided(mixed, total)
        batch, heads, chunks, _, width = mixed.shape
        return ops.reshape(mixed, (batch, heads, chunks * chunk, width))[:, :, :length]


def _divided(mixed: Any, total: Any) -> Any:
    """`mixed` [..., d_kv] over `total` [..., 1] float32; zero where no key counts."""
    return mixed * ops.cast(ops.where(total > 0, 1.0 / ops.where(total > 0, total, 1.0), 0.0), mixed.dtype)


def _chunked(x: Any, chunk: int) -> Any:
    """[batch, heads, length, d_kv] -> [batch, heads, chunks, chunk, d_kv], padded with zeros."""
    batch, heads, length, width = x.shape
    chunks = -(-length // chunk)
    padded = ops.pad(x, ((0, 0), (0, 0), (0, chunks * chunk - length), (0, 0)))
    return ops.reshape(padded, (batch, heads, chunks, chunk, width))


def _sums_before(x: Any) -> Any:
    """Sums over the chunks (axis 2) before each one, in float32."""
    wide = ops.cast(x, "float32")
    return ops.cumsum(wide, axis=2) - wide
