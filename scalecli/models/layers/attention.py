"""Softmax attention and the relative position bias. keras.ops only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from keras import ops

from scalecli import specs
from scalecli.models.caches import empty_cache, updated_at
from scalecli.models.compiled import fuses_attention, uses_xla
from scalecli.models.dropout import Dropout
from scalecli.models.layers.base import Context, SpecLayer, Weights, projection
from scalecli.models.layers.blockwise_attention import bias_tiles, blockwise_attention
from scalecli.models.linear_algebra import product

_FUSED_WIDTHS = (16, 32, 64, 128)  # d_kv that GPU kernels take


class Attention(SpecLayer):
    """Multi-head attention (T5, section 2.1): softmax(Q K^T + bias + mask) V, Q over sqrt(d_kv) where it is scaled."""

    spec: specs.Attention

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, queries, d_model] -> [batch, queries, d_model]."""
        if self.spec.d_kv in _FUSED_WIDTHS and fuses_attention(self.compute_dtype):
            return self._fused(weights, x, context, dropout)
        cached = self._keys_and_values(weights, context.memory if self.spec.cross else x)
        mask = context.cross_mask if self.spec.cross else context.self_mask
        if mask is None:
            return self._blockwise(weights, x, cached, context, dropout)
        keys, values = (cached[self._projections()[number]] for number in (0, -1))
        bias = self._bias(context)
        both = None if bias is None else context.masked_biases.get(self.spec.heads)
        mixed = softmax_attention(self._queries(weights, x), keys, values, mask, bias, dropout, both)
        return self._output(weights, mixed)

    def constants(self, weights: Weights, context: Context) -> Weights:
        """Keys and values of the encoder's output [batch, key_heads, memory, d_kv], for cross-attention."""
        return self._keys_and_values(weights, context.memory) if self.spec.cross else {}

    def initial_state(self, batch: int, length: int, dtype: str) -> Weights:
        """Room for the keys and values of `length` tokens [batch, key_heads, length, d_kv], for self-attention."""
        if self.spec.cross:
            return {}
        shape = (batch, self.spec.key_heads, length, self.spec.d_kv)
        return {name: empty_cache(shape, dtype) for name in self._projections()}

    def step(
        self, weights: Weights, x: Any, constants: Weights, state: Weights, context: Context
    ) -> tuple[Any, Weights]:
        """One token x [batch, 1, d_model], after its key and value have joined those of the tokens before it."""
        if self.spec.cross:
            return self._attend_to(constants, weights, x, context.cross_mask), state
        state = {
            name: updated_at(context.position, state[name], new)
            for name, new in self._keys_and_values(weights, x).items()
        }
        bias = self._bias(context)  # has the mask in it
        return self._attend_to(state, weights, x, context.self_mask if bias is None else bias), state

    def _attend_to(self, cached: Weights, weights: Weights, x: Any, added: Any) -> Any:
        """The attention of one token to cached keys and values; `added` to the scores are mask and bias.

        The keys stay as they are, and the query is the column: they are many, and it is one.
        """
        keys, values = (cached[self._projections()[number]] for number in (0, -1))
        batch, heads, length = x.shape[0], self.spec.heads, keys.shape[2]
        queries = ops.reshape(self._queries(weights, x), (batch, heads, self.spec.d_kv, 1))
        scores = ops.reshape(ops.matmul(keys, queries), (batch, heads, 1, length))
        shares = ops.softmax(ops.cast(scores, "float32") + added, axis=-1)
        mixed = ops.matmul(ops.cast(shares, values.dtype), values)
        return projection(weights, "output", ops.reshape(mixed, (batch, 1, self.spec.inner)))

    def _fused(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """`call` without scores in memory; queries, keys and values are [batch, length, heads, d_kv]."""
        from scalecli.models.layers.fused_attention import fused_attention

        def heads(name: str, x: Any, count: int) -> Any:
            return ops.reshape(projection(weights, name, x), (*x.shape[:2], count, self.spec.d_kv))

        source = context.memory if self.spec.cross else x
        queries = heads("query", x, self.spec.heads)
        queries = queries * self.spec.d_kv**-0.5 if self.spec.scaled else queries
        projected = [heads(name, source, self.spec.key_heads) for name in self._projections()]
        keys, values = projected[0], projected[-1]
        if dropout.active:
            # One mask serves all queries: to drop a key's share is to drop its value.
            kept = dropout(ops.ones((x.shape[0], self.spec.heads, 1, source.shape[1]), values.dtype))
            values = values * ops.transpose(kept, (0, 3, 1, 2))
        mixed = fused_attention(queries, keys, values, *self._bias_and_segments(context))
        return projection(weights, "output", ops.reshape(mixed, (*x.shape[:2], self.spec.inner)))

    def _blockwise(self, weights: Weights, x: Any, cached: Weights, context: Context, dropout: Dropout) -> Any:
        """`call` with the scores of one block of keys at a time."""
        keys, values = (cached[self._projections()[number]] for number in (0, -1))
        if dropout.active:
            values = (
                values
                * dropout(ops.ones((x.shape[0], self.spec.heads, 1, keys.shape[2]), values.dtype))[:, :, 0, :, None]
            )
        mixed = blockwise_attention(self._queries(weights, x), keys, values, *self._bias_and_segments(context))
        return self._output(weights, mixed)

    def _bias_and_segments(self, context: Context) -> tuple[Any, Any, Any, bool]:
        """The bias' tiles, the segments of queries and keys, and whether it is causal."""
        if self.spec.cross:
            return None, context.segments, context.memory_segments, False
        return context.bias_tiles.get(self.spec.heads), context.segments, context.segments, context.causal

    def _projections(self) -> tuple[str, ...]:
        return ("key_value",) if self.spec.tied_key_values else ("key", "value")

    def _keys_and_values(self, weights: Weights, x: Any) -> Weights:
        """Each of them, or the one that is both, [batch, key_heads, length, d_kv]."""
        return {name: self._heads(weights, name, x, self.spec.key_heads) for name in self._projections()}

    def _bias(self, context: Context) -> Any:
        return None if self.spec.cross else context.position_biases.get(self.spec.heads)

    def _heads(self, weights: Weights, name: str, x: Any, heads: int) -> Any:
        """The projection of that name: [batch, length, d_model] -> [batch, heads, length, d_kv]."""
        projected = ops.reshape(projection(weights, name, x), (*x.shape[:2], heads, self.spec.d_kv))
        return ops.transpose(projected, (0, 2, 1, 3))

    def _queries(self, weights: Weights, x: Any) -> Any:
        """[batch, length, d_model] -> [batch, heads, length, d_kv]."""
        queries = self._heads(weights, "query", x, self.spec.heads)
        return queries * self.spec.d_kv**-0.5 if self.spec.scaled else queries

    def _output(self, weights: Weights, mixed: Any) -> Any:
        """[batch, heads, length, d_kv] -> [batch, length, d_model]."""
        batch, _, length, _ = mixed.shape
        joined = ops.reshape(ops.transpose(mixed, (0, 2, 1, 3)), (batch, length, self.spec.inner))
        return projection(weights, "output", joined)


def masked_biases(position_biases: Mapping[int, Any], mask: Any) -> dict[int, Any]:
    """The biases with the mask added, once for all layers; none where XLA fuses the addition with what follows."""
    return {} if uses_xla() else {heads: bias + mask for heads, bias in position_biases.items()}


def softmax_attention(
    queries: Any, keys: Any, values: Any, mask: Any, bias: Any, dropout: Dropout, both: Any = None
) -> Any:
    """Dropout(softmax(Q K^T + mask + bias)) V, [batch, heads, queries, d_kv]; the softmax is float32.

    `queries` [batch, heads, queries, d_kv], `keys` and `values` [batch, key_heads, keys, d_kv], `mask` [batch, 1,
    queries, keys], `bias` [1, heads, queries, keys] or None; the last two are float32, and the mask has no gradient.
    Of what has the size of the scores, the backward pass keeps the shares alone, in the dtype of the values.
    """
    rate = dropout.rate if dropout.active else 0.0

    @ops.custom_gradient
    def attend(queries: Any, keys: Any, values: Any, seed: Any, mask: Any, *bias: Any) -> Any:
        dropped = Dropout(rate, seed)  # linear in what it is given, and so its own gradient
        added = (mask, *bias) if both is None else (both,)
        scores = sum(added, ops.cast(product(queries, keys, transpose_b=True), "float32"))
        shares = ops.cast(ops.softmax(scores, axis=-1), values.dtype)
        mixed = ops.matmul(dropped(shares), values)

        def summed(x: Any) -> Any:
            """The sum over the heads that share a key head."""
            return x if keys.shape[1] == x.shape[1] else ops.sum(x, axis=1, keepdims=True)

        def gradient(upstream: Any) -> tuple[Any, ...]:
            d_values = summed(product(dropped(shares), upstream, transpose_a=True))
            d_shares = ops.cast(dropped(product(upstream, values, transpose_b=True)), "float32")
            wide = ops.cast(shares, "float32")
            # The same sum over fewer numbers (Dao et al. 2022, appendix B.4), if these have not been rounded.
            pair = (upstream, mixed) if mixed.dtype == wide.dtype else (d_shares, wide)
            d_scores = wide * (d_shares - ops.sum(pair[0] * pair[1], axis=-1, keepdims=True))
            d_bias = [ops.sum(d_scores, axis=0, keepdims=True) for _ in bias]
            d_scores = ops.cast(d_scores, queries.dtype)
            d_keys = summed(product(d_scores, queries, transpose_a=True))
            return ops.matmul(d_scores, keys), d_keys, d_values, None, None, *d_bias

        return mixed, gradient

    seed = dropout.seed if rate else ops.zeros((), "int32")
    return attend(queries, keys, values, seed, mask, *(() if bias is None else (bias,)))


class PositionBias(SpecLayer):
    """Bias on the scores by the bucket of the distance between key and query (T5, section 2.1)."""

    spec: specs.PositionBias

    def call(self, queries: int, keys: int) -> Any:
        """float32 [1, heads, queries, keys] for positions counted from 0."""
        by_distance, period = self.by_distance(queries, keys), queries + keys
        # Entry d modulo the period is the bias of distance d; the one that is of no distance is never read.
        cyclic = ops.concatenate([by_distance[:, queries - 1 :], by_distance[:, :1], by_distance[:, : queries - 1]], 1)
        # Repeating rows of one period and reading them with rows one shorter moves each row on by one distance.
        # As slices, since the gradient of an index takes TensorFlow twice as long.
        heads = self.spec.heads
        skewed = ops.slice(ops.tile(cyclic, (1, queries)), (0, 0), (heads, queries * (period - 1)))
        by_query = ops.reshape(skewed, (1, heads, queries, period - 1))
        return ops.slice(by_query, (0, 0, 0, 0), (1, heads, queries, keys))

    def tiles(self, queries: int, keys: int, block: int) -> Any:
        """float32 [heads, diagonals, block, block], as attention takes it that is fused or blockwise."""
        return bias_tiles(self.by_distance(queries, keys), queries, keys, block)

    def by_distance(self, queries: int, keys: int) -> Any:
        """float32 [heads, queries + keys - 1]: the bias of each distance key - query, from 1 - queries on."""
        buckets = relative_buckets(np.arange(1 - queries, keys), self.spec)
        one_hot = np.eye(self.spec.buckets, dtype="float32")[buckets]
        return ops.matmul(ops.convert_to_tensor(self.owned["table"]), one_hot.T)


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
