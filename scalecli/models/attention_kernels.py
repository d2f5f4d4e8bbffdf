"""The kernels of `fused_attention`, which compute a block of queries and a block of keys at a time."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import jax
from jax import numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from scalecli.models.layers.base import MASKED

# Queries, and keys, whose scores a program has at a time; its warps; how many loads it has under way. The fastest of
# about seven settings for each kernel on an H100, with heads of 64 and 512 positions.
BLOCK, _WARPS, _STAGES = 64, 4, 3


@dataclass(frozen=True)
class Problem:
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

    def d_scores(self, i: Any, j: Any, queries: Any, keys: Any, bias_ref: Any) -> tuple[Any, Any]:
        """The shares of a block, from its scores once more, and the gradients of its scores."""
        q, query_segments, normalizers, along, d_output = queries
        k, v, key_segments = keys
        shares = jnp.exp(self.scores(i, j, q, k, bias_ref, query_segments, key_segments) - normalizers[:, None])
        return shares, shares * (plgpu.dot(d_output, v.T) - along[:, None])

    def seen_blocks(self, i: Any) -> Any:
        """How many blocks of keys are to be looked at for block i of queries."""
        return jnp.minimum(self.key_blocks, i + 1) if self.causal else self.key_blocks

    def call(self, kernel: Any, **options: Any) -> Any:
        """The kernel as a function of arrays."""
        return pl.pallas_call(
            functools.partial(kernel, self),
            compiler_params=plgpu.CompilerParams(num_warps=_WARPS, num_stages=_STAGES),
            interpret=self.interpret,
            name=f"attention_{kernel.__name__}",
            **options,
        )


def _inside(ref: Any, block: Any, length: int) -> Any:
    """Which elements of a block lie before the end."""
    inside = block * BLOCK + jnp.arange(BLOCK) < length
    return jnp.broadcast_to(jnp.reshape(inside, (BLOCK, *(1,) * (len(ref.shape) - 1))), ref.shape)


def forward_kernel(
    problem: Problem, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
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


def d_keys_kernel(
    problem: Problem, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, normalizers_ref: Any, along_ref: Any, d_output_ref: Any, d_k_ref: Any, d_v_ref: Any,
) -> None:  # fmt: skip
    """The gradients of a block of keys and their values."""
    j = pl.program_id(0)
    keys = [problem.load(ref, j, problem.keys) for ref in (k_ref, v_ref, key_segments_ref)]
    query_refs = (q_ref, query_segments_ref, normalizers_ref, along_ref, d_output_ref)

    def block(i: Any, carry: Any) -> Any:
        d_k, d_v = carry
        queries = [problem.load(ref, i, problem.queries) for ref in query_refs]
        q, *_, d_output = queries
        shares, d_scores = problem.d_scores(i, j, queries, keys, bias_ref)
        d_v += plgpu.dot(shares.astype(d_output.dtype).T, d_output)
        return d_k + plgpu.dot(d_scores.astype(q.dtype).T, q), d_v

    blank = jnp.zeros(keys[0].shape, jnp.float32)
    d_k, d_v = jax.lax.fori_loop(j if problem.causal else 0, problem.query_blocks, block, (blank, blank))
    problem.store(d_k_ref, j, problem.keys, d_k)
    problem.store(d_v_ref, j, problem.keys, d_v)


def d_queries_kernel(
    problem: Problem, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, normalizers_ref: Any, along_ref: Any, d_output_ref: Any, d_q_ref: Any,
) -> None:  # fmt: skip
    """The gradient of a block of queries."""
    i = pl.program_id(0)
    query_refs = (q_ref, query_segments_ref, normalizers_ref, along_ref, d_output_ref)
    queries = [problem.load(ref, i, problem.queries) for ref in query_refs]

    def block(j: Any, d_q: Any) -> Any:
        keys = [problem.load(ref, j, problem.keys) for ref in (k_ref, v_ref, key_segments_ref)]
        _, d_scores = problem.d_scores(i, j, queries, keys, bias_ref)
        return d_q + plgpu.dot(d_scores.astype(keys[0].dtype), keys[0])

    d_q = jax.lax.fori_loop(0, problem.seen_blocks(i), block, jnp.zeros(queries[0].shape, jnp.float32))
    problem.store(d_q_ref, i, problem.queries, d_q)


def d_bias_kernel(
    problem: Problem, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, normalizers_ref: Any, along_ref: Any, d_output_ref: Any, d_bias_ref: Any,
) -> None:  # fmt: skip
    """The sum of the scores' gradients over the blocks on one diagonal, whose distances are the same, and some rows."""
    diagonal = pl.program_id(0) - (problem.query_blocks - 1)
    first, last = jnp.maximum(0, -diagonal), jnp.minimum(problem.query_blocks, problem.key_blocks - diagonal)
    if problem.causal:
        last *= (diagonal <= 0).astype(jnp.int32)

    query_refs = (q_ref, query_segments_ref, normalizers_ref, along_ref, d_output_ref)

    def row(number: Any, d_bias: Any) -> Any:
        def block(i: Any, d_bias: Any) -> Any:
            j = i + diagonal
            queries = [problem.load(ref, i, problem.queries, number) for ref in query_refs]
            keys = [problem.load(ref, j, problem.keys, number) for ref in (k_ref, v_ref, key_segments_ref)]
            return d_bias + problem.d_scores(i, j, queries, keys, bias_ref)[1]

        return jax.lax.fori_loop(first, last, block, d_bias)

    plgpu.store(d_bias_ref, jax.lax.fori_loop(0, q_ref.shape[0], row, jnp.zeros((BLOCK, BLOCK), jnp.float32)))
