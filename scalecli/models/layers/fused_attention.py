"""Softmax attention for NVIDIA GPUs on JAX, as Triton kernels written with Pallas that keep no scores.

FlashAttention-2 (Dao 2023) with what T5 adds: a bias on the scores by the distance of key and query, shared by the
batch, which has a gradient; and segments, for packed examples. Scores and softmax are float32, operands of matrix
products bfloat16, and the bias that they add is rounded to float16's eleven bits.

The backward pass runs three kernels: for keys and values, for queries, and for the bias. The first one computes the
scores again. Up to `MOST_WRITTEN_OUT` keys it also writes the gradients of the scores, which the other two kernels
read. Beyond that, these compute the scores again, too, and memory is linear in the length. No sum depends on the order
in which programs finish, so that the same inputs give the same bits.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
from jax import numpy as jnp
from jax.experimental import pallas as pl

from scalecli.models.attention_kernels import (
    BLOCK,
    Problem,
    d_bias_from_d_scores_kernel,
    d_bias_kernel,
    d_keys_kernel,
    d_queries_from_d_scores_kernel,
    d_queries_kernel,
    forward_kernel,
)

_BATCH_PARTS = 8  # sums of the bias' gradient that run side by side


def fused_attention(
    queries: Any,
    keys: Any,
    values: Any,
    bias: Any,
    query_segments: Any,
    key_segments: Any,
    causal: bool,
    interpret: bool = False,
) -> Any:
    """softmax(Q K^T + bias) V over the keys of each query's own segment, [batch, queries, heads, d_kv].

    Args:
        queries: [batch, queries, heads, d_kv].
        keys: [batch, keys, heads or 1, d_kv], and so are the values.
        values: See `keys`.
        bias: float32 [heads, diagonals, block, block] from `bias_tiles` with a block of `BLOCK`, or None.
        query_segments: int32 [batch, queries].
        key_segments: int32 [batch, keys].
        causal: Whether a query sees no later key.
        interpret: Runs the kernels on a CPU, slowly, for tests.
    """
    problem = Problem(queries.shape[1], keys.shape[1], causal, bias is not None, interpret)
    return _attention(problem, queries, keys, values, bias, query_segments, key_segments)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(problem: Problem, *arguments: Any) -> Any:
    return _forward(problem, *arguments)[0]


def _kernel_inputs(q: Any, k: Any, v: Any, bias: Any, query_segments: Any, key_segments: Any) -> tuple[Any, ...]:
    """The arguments as kernels take them, after int32 [batch]: whether a row has several segments."""
    if bias is not None and q.dtype != jnp.float32:
        bias = bias.astype(jnp.float16)
    first = query_segments[:, :1]
    mixed = jnp.any(query_segments != first, axis=1) | jnp.any(key_segments != first, axis=1)
    return mixed.astype(jnp.int32), q, k, v, bias, query_segments, key_segments


def _forward(problem: Problem, *arguments: Any) -> Any:
    inputs = _kernel_inputs(*arguments)
    q = arguments[0]
    batch, queries, heads, _ = q.shape
    return problem.call(
        forward_kernel,
        grid=(problem.query_blocks, batch, heads),
        in_specs=_specs(problem, heads, *inputs),
        out_specs=[_per_head(q, heads), _per_query(problem)],
        out_shape=[
            jax.ShapeDtypeStruct(q.shape, q.dtype),
            jax.ShapeDtypeStruct((batch, heads, queries), jnp.float32),
        ],
    )(*inputs)


def _forward_rule(problem: Problem, *arguments: Any) -> Any:
    output, normalizers = _forward(problem, *arguments)
    return output, (arguments, output, normalizers)


def _backward_rule(problem: Problem, kept: Any, d_output: Any) -> Any:
    arguments, output, normalizers = kept
    q, k, v, *_ = arguments
    batch, _, heads, d_kv = q.shape
    along = jnp.einsum("bqhd,bqhd->bhq", output, d_output, preferred_element_type=jnp.float32)
    inputs = (*_kernel_inputs(*arguments), normalizers, along, d_output)
    per_key = pl.BlockSpec((None, problem.keys, None, d_kv), lambda _, row, head: (row, 0, head, 0))
    d_key = jax.ShapeDtypeStruct((batch, problem.keys, heads, d_kv), k.dtype)
    shapes, specs = [d_key, d_key], [per_key, per_key]
    if problem.writes_d_scores:
        scores = (batch, heads, problem.key_blocks * BLOCK, problem.query_blocks * BLOCK)
        shapes.append(jax.ShapeDtypeStruct(scores, q.dtype))
        specs.append(_per_d_scores(shapes[-1]))
    d_k, d_v, *d_scores = problem.call(
        d_keys_kernel,
        grid=(problem.key_blocks, batch, heads),
        in_specs=_specs(problem, heads, *inputs),
        out_specs=specs,
        out_shape=shapes,
    )(*inputs)
    d_k, d_v = (
        d if d.shape == x.shape else jnp.sum(d.astype(jnp.float32), axis=2, keepdims=True).astype(x.dtype)
        for d, x in ((d_k, k), (d_v, v))
    )
    d_q, d_bias = _from_d_scores(problem, q, k, *d_scores) if d_scores else _anew(problem, *inputs)
    return d_q, d_k, d_v, d_bias, None, None


def _from_d_scores(problem: Problem, q: Any, k: Any, d_scores: Any) -> tuple[Any, Any]:
    """The gradients of the queries and of the bias, from those of the scores [batch, heads, keys, queries]."""
    batch, _, heads, _ = q.shape
    specs = [_per_d_scores(d_scores), _per_head(k, heads)]
    d_q = _d_queries(problem, d_queries_from_d_scores_kernel, q, specs, d_scores, k)
    if not problem.biased:
        return d_q, None
    parts = _parts(batch)
    specs = [_per_d_scores(d_scores, batch // parts)]
    return d_q, jnp.swapaxes(_d_bias(problem, d_bias_from_d_scores_kernel, parts, heads, specs, d_scores), -1, -2)


def _anew(problem: Problem, mixed: Any, q: Any, *others: Any) -> tuple[Any, Any]:
    """The gradients of the queries and of the bias, from scores that are computed once more for each of the two."""
    batch, _, heads, _ = q.shape
    specs = _specs(problem, heads, mixed, q, *others)
    d_q = _d_queries(problem, d_queries_kernel, q, specs, mixed, q, *others)
    if not problem.biased:
        return d_q, None
    parts = _parts(batch)
    mixed = jnp.max(jnp.reshape(mixed, (parts, -1)), axis=1)
    specs = _specs(problem, heads, mixed, q, *others, rows=batch // parts)
    return d_q, _d_bias(problem, d_bias_kernel, parts, heads, specs, mixed, q, *others)


def _d_queries(problem: Problem, kernel: Any, q: Any, specs: list[Any], *inputs: Any) -> Any:
    batch, _, heads, _ = q.shape
    return problem.call(
        kernel,
        grid=(problem.query_blocks, batch, heads),
        in_specs=specs,
        out_specs=_per_head(q, heads),
        out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
    )(*inputs)


def _d_bias(problem: Problem, kernel: Any, parts: int, heads: int, specs: list[Any], *inputs: Any) -> Any:
    """The gradient of the bias' tiles, float32 [heads, diagonals, block, block]."""
    tiles = problem.call(
        kernel,
        grid=(problem.diagonals, parts, heads),
        in_specs=specs,
        out_specs=pl.BlockSpec(
            (None, None, None, BLOCK, BLOCK), lambda diagonal, part, head: (part, head, diagonal, 0, 0)
        ),
        out_shape=jax.ShapeDtypeStruct((parts, heads, problem.diagonals, BLOCK, BLOCK), jnp.float32),
    )(*inputs)
    return jnp.sum(tiles, axis=0)


def _parts(batch: int) -> int:
    """How many sums of the bias' gradient run side by side, each over equally many rows."""
    return next(parts for parts in range(min(batch, _BATCH_PARTS), 0, -1) if batch % parts == 0)


def _specs(
    problem: Problem, heads: int, mixed: Any, q: Any, k: Any, v: Any, bias: Any, query_segments: Any, key_segments: Any,
    *of_output: Any, rows: int | None = None,
) -> list[Any]:  # fmt: skip
    """What a program (block, row, head) sees of a kernel's inputs: of one row, or of `rows`."""
    per_row = pl.BlockSpec((None,), lambda _, row, __: (row,))
    bias_spec = None if bias is None else pl.BlockSpec((None, *bias.shape[1:]), lambda _, __, head: (head, 0, 0, 0))
    segments = [pl.BlockSpec((rows, length), lambda _, row, __: (row, 0)) for length in (problem.queries, problem.keys)]
    specs = [per_row, *(_per_head(x, heads, rows) for x in (q, k, v)), bias_spec, *segments]
    if of_output:  # normalizers, along, d_output
        per_query = _per_query(problem, rows)
        specs += [per_query, per_query, _per_head(q, heads, rows)]
    return specs


def _per_head(x: Any, heads: int, rows: int | None = None) -> Any:
    """What a program sees of [batch, length, heads or 1, d_kv]."""
    shared = x.shape[2] != heads
    return pl.BlockSpec((rows, x.shape[1], None, x.shape[3]), lambda _, row, head: (row, 0, 0 if shared else head, 0))


def _per_query(problem: Problem, rows: int | None = None) -> Any:
    """What a program sees of float32 [batch, heads, queries]."""
    return pl.BlockSpec((rows, None, problem.queries), lambda _, row, head: (row, head, 0))


def _per_d_scores(d_scores: Any, rows: int | None = None) -> Any:
    """What a program sees of the scores' gradients [batch, heads, keys, queries]."""
    return pl.BlockSpec((rows, None, *d_scores.shape[2:]), lambda _, row, head: (row, head, 0, 0))


_attention.defvjp(_forward_rule, _backward_rule)
