"""Softmax attention for NVIDIA GPUs on JAX, as Triton kernels written with Pallas: scores never reach the GPU's memory.

FlashAttention-2 (Dao 2023) with what T5 adds: a bias on the scores by the distance of key and query, shared by the
batch, which has a gradient; and segments, for packed examples. Memory is linear in the length. Scores and softmax are
float32, operands of matrix products bfloat16.

The backward pass runs three kernels, each of which computes the scores again: for keys and values, for queries, and for
the bias. No sum depends on the order in which programs finish, so that the same inputs give the same bits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
from jax import numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

MASKED = -1e9  # the score of a key that must not be seen
_BATCH_PARTS = 8  # sums of the bias' gradient that run side by side


# Queries, and keys, whose scores a program has at a time; its warps; how many loads it has under way. The fastest of
# about seven settings for each kernel on an H100, with heads of 64 and 512 positions.
BLOCK, _WARPS, _STAGES = 64, 4, 3


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
    problem = _Problem(queries.shape[1], keys.shape[1], causal, bias is not None, interpret)
    return _attention(problem, queries, keys, values, bias, query_segments, key_segments)


@dataclass(frozen=True)
class _Problem:
    """What is static of one attention, and what all kernels do."""

    queries: int
    keys: int
    causal: bool
    biased: bool
    interpret: bool

    @property
    def query_blocks(self) -> int:
        """How many blocks of queries there are."""
        return pl.cdiv(self.queries, BLOCK)

    @property
    def key_blocks(self) -> int:
        """How many blocks of keys there are."""
        return pl.cdiv(self.keys, BLOCK)

    def load(self, ref: Any, block: Any, length: int, *row: Any) -> Any:
        """Block number `block` of `ref` [length, ...] or of its `row`; zeros beyond the end."""
        at = ref.at[(*row, pl.ds(block * BLOCK, BLOCK))]
        return plgpu.load(at) if length % BLOCK == 0 else plgpu.load(at, mask=_inside(at, block, length), other=0)

    def store(self, ref: Any, block: Any, length: int, value: Any) -> None:
        """Writes block number `block` of `ref` [length, ...], up to its end."""
        at = ref.at[pl.ds(block * BLOCK, BLOCK)]
        plgpu.store(at, value.astype(ref.dtype), mask=_inside(at, block, length) if length % BLOCK else None)

    def scores(self, i: Any, j: Any, q: Any, k: Any, bias_ref: Any, query_segments: Any, key_segments: Any) -> Any:
        """Scores float32 [block, block] of block i of queries and block j of keys."""
        scores = plgpu.dot(q, k.T)
        if self.biased:
            scores += plgpu.load(bias_ref.at[j - i + (self.query_blocks - 1)])
        columns = (j * BLOCK + jnp.arange(BLOCK))[None, :]
        seen = query_segments[:, None] == key_segments[None, :]
        if self.causal:
            seen = jnp.logical_and(seen, (i * BLOCK + jnp.arange(BLOCK))[:, None] >= columns)
        scores = jnp.where(seen, scores, MASKED)
        return jnp.where(columns < self.keys, scores, -jnp.inf) if self.keys % BLOCK else scores

    def seen_blocks(self, i: Any) -> Any:
        """How many blocks of keys are to be looked at for block i of queries."""
        return jnp.minimum(self.key_blocks, i + 1) if self.causal else self.key_blocks

    def call(self, kernel: Any, **options: Any) -> Any:
        """The kernel as a function of arrays."""
        return pl.pallas_call(
            functools.partial(kernel, self),
            compiler_params=plgpu.CompilerParams(num_warps=_WARPS, num_stages=_STAGES),
            interpret=self.interpret,
            name=f"attention{kernel.__name__}",
            **options,
        )


def _inside(ref: Any, block: Any, length: int) -> Any:
    """Which elements of a block lie before the end."""
    inside = block * BLOCK + jnp.arange(BLOCK) < length
    return jnp.broadcast_to(jnp.reshape(inside, (BLOCK, *(1,) * (len(ref.shape) - 1))), ref.shape)


def _forward_kernel(
    problem: _Problem, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, output_ref: Any, normalizers_ref: Any,
) -> None:  # fmt: skip
    """A block of queries: its output, and the logarithm of its softmax's normalizer."""
    i = pl.program_id(0)
    q, query_segments = (problem.load(ref, i, problem.queries) for ref in (q_ref, query_segments_ref))

    def block(j: Any, carry: Any) -> Any:
        output, highest, total = carry
        k, v, key_segments = (problem.load(ref, j, problem.keys) for ref in (k_ref, v_ref, key_segments_ref))
        scores = problem.scores(i, j, q, k, bias_ref, query_segments, key_segments)
        higher = jnp.maximum(highest, jnp.max(scores, axis=1))
        correction = jnp.exp(highest - higher)
        shares = jnp.exp(scores - higher[:, None])
        output = output * correction[:, None] + plgpu.dot(shares.astype(v.dtype), v)
        return output, higher, total * correction + jnp.sum(shares, axis=1)

    lowest = jnp.full((BLOCK,), -jnp.inf, jnp.float32)
    start = (jnp.zeros(q.shape, jnp.float32), lowest, jnp.zeros_like(lowest))
    output, highest, total = jax.lax.fori_loop(0, problem.seen_blocks(i), block, start)
    problem.store(output_ref, i, problem.queries, output / total[:, None])
    problem.store(normalizers_ref, i, problem.queries, highest + jnp.log(total))


def _d_keys_kernel(
    problem: _Problem, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, normalizers_ref: Any, along_ref: Any, d_output_ref: Any, d_k_ref: Any, d_v_ref: Any,
) -> None:  # fmt: skip
    """The gradients of a block of keys and their values."""
    j = pl.program_id(0)
    k, v, key_segments = (problem.load(ref, j, problem.keys) for ref in (k_ref, v_ref, key_segments_ref))

    def block(i: Any, carry: Any) -> Any:
        d_k, d_v = carry
        refs = (q_ref, query_segments_ref, normalizers_ref, along_ref, d_output_ref)
        q, query_segments, normalizers, along, d_output = (problem.load(ref, i, problem.queries) for ref in refs)
        scores = problem.scores(i, j, q, k, bias_ref, query_segments, key_segments)
        shares = jnp.exp(scores - normalizers[:, None])
        d_v += plgpu.dot(shares.astype(d_output.dtype).T, d_output)
        d_scores = shares * (plgpu.dot(d_output, v.T) - along[:, None])
        return d_k + plgpu.dot(d_scores.astype(q.dtype).T, q), d_v

    blank = jnp.zeros(k.shape, jnp.float32)
    d_k, d_v = jax.lax.fori_loop(j if problem.causal else 0, problem.query_blocks, block, (blank, blank))
    problem.store(d_k_ref, j, problem.keys, d_k)
    problem.store(d_v_ref, j, problem.keys, d_v)


def _d_queries_kernel(
    problem: _Problem, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, normalizers_ref: Any, along_ref: Any, d_output_ref: Any, d_q_ref: Any,
) -> None:  # fmt: skip
    """The gradient of a block of queries."""
    i = pl.program_id(0)
    refs = (q_ref, query_segments_ref, normalizers_ref, along_ref, d_output_ref)
    q, query_segments, normalizers, along, d_output = (problem.load(ref, i, problem.queries) for ref in refs)

    def block(j: Any, d_q: Any) -> Any:
        k, v, key_segments = (problem.load(ref, j, problem.keys) for ref in (k_ref, v_ref, key_segments_ref))
        scores = problem.scores(i, j, q, k, bias_ref, query_segments, key_segments)
        shares = jnp.exp(scores - normalizers[:, None])
        d_scores = shares * (plgpu.dot(d_output, v.T) - along[:, None])
        return d_q + plgpu.dot(d_scores.astype(k.dtype), k)

    d_q = jax.lax.fori_loop(0, problem.seen_blocks(i), block, jnp.zeros(q.shape, jnp.float32))
    problem.store(d_q_ref, i, problem.queries, d_q)


def _d_bias_kernel(
    problem: _Problem, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, normalizers_ref: Any, along_ref: Any, d_output_ref: Any, d_bias_ref: Any,
) -> None:  # fmt: skip
    """The sum of the scores' gradients over the blocks on one diagonal, whose distances are the same, and some rows."""
    diagonal = pl.program_id(0) - (problem.query_blocks - 1)
    first, last = jnp.maximum(0, -diagonal), jnp.minimum(problem.query_blocks, problem.key_blocks - diagonal)
    if problem.causal:
        last *= (diagonal <= 0).astype(jnp.int32)

    def row(number: Any, d_bias: Any) -> Any:
        def block(i: Any, d_bias: Any) -> Any:
            refs = (q_ref, query_segments_ref, normalizers_ref, along_ref, d_output_ref)
            q, query_segments, normalizers, along, d_output = (
                problem.load(ref, i, problem.queries, number) for ref in refs
            )
            j = i + diagonal
            k, v, key_segments = (
                problem.load(ref, j, problem.keys, number) for ref in (k_ref, v_ref, key_segments_ref)
            )
            scores = problem.scores(i, j, q, k, bias_ref, query_segments, key_segments)
            shares = jnp.exp(scores - normalizers[:, None])
            return d_bias + shares * (plgpu.dot(d_output, v.T) - along[:, None])

        return jax.lax.fori_loop(first, last, block, d_bias)

    plgpu.store(d_bias_ref, jax.lax.fori_loop(0, q_ref.shape[0], row, jnp.zeros((BLOCK, BLOCK), jnp.float32)))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _attention(problem: _Problem, *arguments: Any) -> Any:
    return _forward(problem, *arguments)[0]


def _forward(problem: _Problem, *arguments: Any) -> Any:
    batch, queries, heads, _ = arguments[0].shape
    specs = _specs(problem, heads, *arguments)
    return problem.call(
        _forward_kernel,
        grid=(problem.query_blocks, batch, heads),
        in_specs=specs,
        out_specs=[specs[0], _per_query(problem)],
        out_shape=[
            jax.ShapeDtypeStruct(arguments[0].shape, arguments[0].dtype),
            jax.ShapeDtypeStruct((batch, heads, queries), jnp.float32),
        ],
    )(*arguments)


def _forward_rule(problem: _Problem, *arguments: Any) -> Any:
    output, normalizers = _forward(problem, *arguments)
    return output, (arguments, output, normalizers)


def _backward_rule(problem: _Problem, kept: Any, d_output: Any) -> Any:
    arguments, output, normalizers = kept
    q, k, v, *_ = arguments
    batch, _, heads, d_kv = q.shape
    along = jnp.einsum("bqhd,bqhd->bhq", output, d_output, preferred_element_type=jnp.float32)
    inputs = (*arguments, normalizers, along, d_output)
    specs = _specs(problem, heads, *arguments)
    specs += [_per_query(problem), _per_query(problem), specs[0]]
    per_key = pl.BlockSpec((None, problem.keys, None, d_kv), lambda _, row, head: (row, 0, head, 0))
    d_k, d_v = problem.call(
        _d_keys_kernel,
        grid=(problem.key_blocks, batch, heads),
        in_specs=specs,
        out_specs=[per_key, per_key],
        out_shape=[jax.ShapeDtypeStruct((batch, problem.keys, heads, d_kv), k.dtype)] * 2,
    )(*inputs)
    d_q = problem.call(
        _d_queries_kernel,
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


def _d_bias(problem: _Problem, q: Any, *inputs: Any) -> Any:
    """The gradient of the bias' tiles, float32 [heads, diagonals, block, block]."""
    batch, queries, heads, _ = q.shape
    diagonals = problem.query_blocks + problem.key_blocks - 1
    parts = next(parts for parts in range(min(batch, _BATCH_PARTS), 0, -1) if batch % parts == 0)
    specs = _specs(problem, heads, q, *inputs, rows=batch // parts)
    per_query = pl.BlockSpec((batch // parts, None, queries), lambda _, part, head: (part, head, 0))
    one_tile = pl.BlockSpec((None, None, None, BLOCK, BLOCK), lambda diagonal, part, head: (part, head, diagonal, 0, 0))
    tiles = problem.call(
        _d_bias_kernel,
        grid=(diagonals, parts, heads),
        in_specs=[*specs, per_query, per_query, specs[0]],
        out_specs=one_tile,
        out_shape=jax.ShapeDtypeStruct((parts, heads, diagonals, BLOCK, BLOCK), jnp.float32),
    )(q, *inputs)
    return jnp.sum(tiles, axis=0)


def _specs(
    problem: _Problem, heads: int, q: Any, k: Any, v: Any, bias: Any, *_: Any, rows: int | None = None
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


def _per_query(problem: _Problem) -> Any:
    """What a program sees of float32 [batch, heads, queries]."""
    return pl.BlockSpec((None, None, problem.queries), lambda _, row, head: (row, head, 0))


_attention.defvjp(_forward_rule, _backward_rule)
