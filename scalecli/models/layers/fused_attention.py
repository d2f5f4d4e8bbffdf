"""Softmax attention for NVIDIA GPUs on JAX, as Triton kernels written with Pallas: scores never reach the GPU's memory.

FlashAttention-2 (Dao 2023) with what T5 adds: a bias on the scores by the distance of key and query, shared by the
batch, which has a gradient; and segments, for packed examples. Memory is linear in the length. Scores and softmax are
float32, operands of matrix products bfloat16.

The backward pass runs three kernels, each of which computes the scores again: for keys and values, for queries, and for
the bias. No sum depends on the order in which programs finish, so that the same inputs give the same bits.
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
    d_bias_kernel,
    d_keys_kernel,
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


def _forward(problem: Problem, *arguments: Any) -> Any:
    batch, queries, heads, _ = arguments[0].shape
    specs = _specs(problem, heads, *arguments)
    return problem.call(
        forward_kernel,
        grid=(problem.query_blocks, batch, heads),
        in_specs=specs,
        out_specs=[specs[0], _per_query(problem)],
        out_shape=[
            jax.ShapeDtypeStruct(arguments[0].shape, arguments[0].dtype),
            jax.ShapeDtypeStruct((batch, heads, queries), jnp.float32),
        ],
    )(*arguments)


def _forward_rule(problem: Problem, *arguments: Any) -> Any:
    output, normalizers = _forward(problem, *arguments)
    return output, (arguments, output, normalizers)


def _backward_rule(problem: Problem, kept: Any, d_output: Any) -> Any:
    arguments, output, normalizers = kept
    q, k, v, *_ = arguments
    batch, _, heads, d_kv = q.shape
    along = jnp.einsum("bqhd,bqhd->bhq", output, d_output, preferred_element_type=jnp.float32)
    inputs = (*arguments, normalizers, along, d_output)
    specs = _specs(problem, heads, *arguments)
    specs += [_per_query(problem), _per_query(problem), specs[0]]
    per_key = pl.BlockSpec((None, problem.keys, None, d_kv), lambda _, row, head: (row, 0, head, 0))
    d_k, d_v = problem.call(
        d_keys_kernel,
        grid=(problem.key_blocks, batch, heads),
        in_specs=specs,
        out_specs=[per_key, per_key],
        out_shape=[jax.ShapeDtypeStruct((batch, problem.keys, heads, d_kv), k.dtype)] * 2,
    )(*inputs)
    d_q = problem.call(
        d_queries_kernel,
        grid=(problem.query_blocks, batch, heads),
        in_specs=specs,
        out_specs=specs[0],
        out_shape=jax.ShapeDtypeStruct(q.shape, q.dtype),
    )(*inputs)
    d_k, d_v = (
        d if d.shape == x.shape else jnp.sum(d.astype(jnp.float32), axis=2, keepdims=True).astype(x.dtype)
        for d, x in ((d_k, k), (d_v, v))
    )
    return d_q, d_k, d_v, _d_bias(problem, *inputs) if problem.biased else None, None, None


def _d_bias(problem: Problem, q: Any, *inputs: Any) -> Any:
    """The gradient of the bias' tiles, float32 [heads, diagonals, block, block]."""
    batch, queries, heads, _ = q.shape
    diagonals = problem.query_blocks + problem.key_blocks - 1
    parts = next(parts for parts in range(min(batch, _BATCH_PARTS), 0, -1) if batch % parts == 0)
    specs = _specs(problem, heads, q, *inputs, rows=batch // parts)
    per_query = pl.BlockSpec((batch // parts, None, queries), lambda _, part, head: (part, head, 0))
    one_tile = pl.BlockSpec((None, None, None, BLOCK, BLOCK), lambda diagonal, part, head: (part, head, diagonal, 0, 0))
    tiles = problem.call(
        d_bias_kernel,
        grid=(diagonals, parts, heads),
        in_specs=[*specs, per_query, per_query, specs[0]],
        out_specs=one_tile,
        out_shape=jax.ShapeDtypeStruct((parts, heads, diagonals, BLOCK, BLOCK), jnp.float32),
    )(q, *inputs)
    return jnp.sum(tiles, axis=0)


def _specs(
    problem: Problem, heads: int, q: Any, k: Any, v: Any, bias: Any, *_: Any, rows: int | None = None
) -> list[Any]:
    """What a program (block, row, head) sees of queries, keys, values, bias and segments: of one row, or of `rows`."""

    def per_head(x: Any) -> Any:
        shared = x.shape[2] != heads
        return pl.BlockSpec(
            (rows, x.shape[1], None, x.shape[3]), lambda _, row, head: (row, 0, 0 if shared else head, 0)
        )

    bias_spec = None if bias is None else pl.BlockSpec((None, *bias.shape[1:]), lambda _, __, head: (head, 0, 0, 0))
    segments = (pl.BlockSpec((rows, length), lambda _, row, __: (row, 0)) for length in (problem.queries, problem.keys))
    return [per_head(q), per_head(k), per_head(v), bias_spec, *segments]


def _per_query(problem: Problem) -> Any:
    """What a program sees of float32 [batch, heads, queries]."""
    return pl.BlockSpec((None, None, problem.queries), lambda _, row, head: (row, head, 0))


_attention.defvjp(_forward_rule, _backward_rule)
