"""The kernels of `fused_attention`, which compute a block of queries and a block of keys at a time."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import jax
from jax import numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton as plgpu

from scalecli.models.compiled import MOST_WRITTEN_OUT
from scalecli.models.layers.base import MASKED

BLOCK = 64  # queries, and keys, whose scores a program has at a time
_WARPS = 4
# How many loads a program has under way: the fastest of one to four on an H200, with heads of 64 and 512 positions.
_STAGES = {
    "forward": 2,
    "d_keys": 3,
    "d_queries": 2,
    "d_bias": 2,
    "d_queries_from_d_scores": 3,
    "d_bias_from_d_scores": 2,
}
_LOG2_E = 1.4426950408889634


@dataclass(frozen=True)
class Problem:
    """What is static of one attention, and what all kernels do."""

    queries: int
    keys: int
    causal: bool
    biased: bool
    interpret: bool
    segmented: bool = True  # whether some rows may have several segments

    @property
    def query_blocks(self) -> int:
        """How many blocks of queries there are."""
        return pl.cdiv(self.queries, BLOCK)

    @property
    def key_blocks(self) -> int:
        """How many blocks of keys there are."""
        return pl.cdiv(self.keys, BLOCK)

    @property
    def writes_d_scores(self) -> bool:
        """Whether the backward pass writes out the gradients of the scores, or computes them for each result anew."""
        return self.keys <= MOST_WRITTEN_OUT

    @property
    def diagonals(self) -> int:
        """How many differences there are between the numbers of a block of keys and one of queries."""
        return self.query_blocks + self.key_blocks - 1

    def on_diagonal(self, diagonal: Any) -> tuple[Any, Any]:
        """The range of blocks i of queries for which i + diagonal is a block of keys that they see."""
        first, last = jnp.maximum(0, -diagonal), jnp.minimum(self.query_blocks, self.key_blocks - diagonal)
        if self.causal:
            last *= (diagonal <= 0).astype(jnp.int32)
        return first, last

    def load(self, ref: Any, block: Any, length: int, *row: Any) -> Any:
        """Block number `block` of `ref` [length, ...] or of its `row`; zeros beyond the end."""
        at = ref.at[(*row, pl.ds(block * BLOCK, BLOCK))]
        return plgpu.load(at) if length % BLOCK == 0 else plgpu.load(at, mask=_inside(at, block, length), other=0)

    def store(self, ref: Any, block: Any, length: int, value: Any) -> None:
        """Writes block number `block` of `ref` [length, ...], up to its end."""
        at = ref.at[pl.ds(block * BLOCK, BLOCK)]
        plgpu.store(at, value.astype(ref.dtype), mask=_inside(at, block, length) if length % BLOCK else None)

    def bias(self, diagonal: Any, bias_ref: Any, turned: bool = False) -> Any:
        """The bias float32 [block, block] of key block - query block; `turned`, the keys are the rows."""
        if not self.biased:
            return 0.0
        # As a product, the tile goes from the shared memory straight to where the scores are.
        tile = plgpu.load(bias_ref.at[diagonal + (self.query_blocks - 1)])
        identity = (jnp.arange(BLOCK)[:, None] == jnp.arange(BLOCK)[None, :]).astype(tile.dtype)
        return plgpu.dot(identity, tile.T if turned else tile)

    def scores(self, i: Any, j: Any, q: Any, k: Any, bias: Any, segments: tuple[Any, Any], turned: bool) -> Any:
        """Scores float32 [block, block] of block i of queries and block j of keys; `turned`, the keys are the rows."""

        def per_query(x: Any) -> Any:
            return x[None, :] if turned else x[:, None]

        def per_key(x: Any) -> Any:
            return x[:, None] if turned else x[None, :]

        scores = (plgpu.dot(k, q.T) if turned else plgpu.dot(q, k.T)) + bias
        columns = per_key(j * BLOCK + jnp.arange(BLOCK))
        if self.segmented:
            scores = jnp.where(per_query(segments[0]) == per_key(segments[1]), scores, MASKED)
        if self.causal:
            scores = jnp.where(per_query(i * BLOCK + jnp.arange(BLOCK)) >= columns, scores, MASKED)
        return jnp.where(columns < self.keys, scores, -jnp.inf) if self.keys % BLOCK else scores

    def exp(self, x: Any, less: Any) -> Any:
        """e^(x - less), by the GPU's own instruction."""
        x = x * _LOG2_E - less * _LOG2_E
        if self.interpret:
            return jnp.exp2(x)
        like = [jax.ShapeDtypeStruct(x.shape, jnp.float32)]
        (shares,) = plgpu.elementwise_inline_asm(
            "ex2.approx.ftz.f32 $0, $1;", args=[x], constraints="=f,f", pack=1, result_shape_dtypes=like
        )
        return shares

    def d_scores(self, i: Any, j: Any, queries: Any, keys: Any, bias: Any, turned: bool = False) -> tuple[Any, Any]:
        """The shares of a block, from its scores once more, and the gradients of its scores."""
        q, query_segments, normalizers, along, d_output = queries
        k, v, key_segments = keys
        normalizers, along = (x[None, :] if turned else x[:, None] for x in (normalizers, along))
        scores = self.scores(i, j, q, k, bias, (query_segments, key_segments), turned)
        shares = self.exp(scores, normalizers)
        d_shares = plgpu.dot(v, d_output.T) if turned else plgpu.dot(d_output, v.T)
        return shares, shares * (d_shares - along)

    def loop(self, mixed_ref: Any, first: Any, last: Any, body: Callable[[Problem, Any, Any], Any], start: Any) -> Any:
        """`body`(problem, number, carry) from `first` to `last`, without masks of segments if `mixed_ref` is 0."""

        def run(problem: Problem) -> Any:
            return jax.lax.fori_loop(first, last, functools.partial(body, problem), start)

        one_segment = replace(self, segmented=False)
        return jax.lax.cond(plgpu.load(mixed_ref.at[()]) != 0, lambda: run(self), lambda: run(one_segment))

    def seen_blocks(self, i: Any) -> Any:
        """How many blocks of keys are to be looked at for block i of queries."""
        return jnp.minimum(self.key_blocks, i + 1) if self.causal else self.key_blocks

    def call(self, kernel: Any, **options: Any) -> Any:
        """The kernel as a function of arrays."""
        stages = _STAGES[kernel.__name__.removesuffix("_kernel")]
        return pl.pallas_call(
            functools.partial(kernel, self),
            compiler_params=plgpu.CompilerParams(num_warps=_WARPS, num_stages=stages),
            interpret=self.interpret,
            name=f"attention_{kernel.__name__}",
            **options,
        )


def _inside(ref: Any, block: Any, length: int) -> Any:
    """Which elements of a block lie before the end."""
    inside = block * BLOCK + jnp.arange(BLOCK) < length
    return jnp.broadcast_to(jnp.reshape(inside, (BLOCK, *(1,) * (len(ref.shape) - 1))), ref.shape)


def _tile(d_scores_ref: Any, i: Any, j: Any, *row: Any) -> Any:
    """Where the gradients of a block's scores are, in [keys, queries] or in a row of it."""
    return d_scores_ref.at[(*row, pl.ds(j * BLOCK, BLOCK), pl.ds(i * BLOCK, BLOCK))]


def forward_kernel(
    problem: Problem, mixed_ref: Any, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, output_ref: Any, normalizers_ref: Any,
) -> None:  # fmt: skip
    """A block of queries: its output, and the logarithm of its softmax's normalizer."""
    i = pl.program_id(0)
    q, query_segments = (problem.load(ref, i, problem.queries) for ref in (q_ref, query_segments_ref))

    def block(problem: Problem, j: Any, carry: Any) -> Any:
        output, highest, total = carry
        k, v, key_segments = (problem.load(ref, j, problem.keys) for ref in (k_ref, v_ref, key_segments_ref))
        bias = problem.bias(j - i, bias_ref)
        scores = problem.scores(i, j, q, k, bias, (query_segments, key_segments), turned=False)
        higher = jnp.maximum(highest, jnp.max(scores, axis=1))
        correction = problem.exp(highest, higher)
        shares = problem.exp(scores, higher[:, None])
        output = output * correction[:, None] + plgpu.dot(shares.astype(v.dtype), v)
        return output, higher, total * correction + jnp.sum(shares, axis=1)

    lowest = jnp.full((BLOCK,), -jnp.inf, jnp.float32)
    start = (jnp.zeros(q.shape, jnp.float32), lowest, jnp.zeros_like(lowest))
    output, highest, total = problem.loop(mixed_ref, 0, problem.seen_blocks(i), block, start)
    problem.store(output_ref, i, problem.queries, output / total[:, None])
    problem.store(normalizers_ref, i, problem.queries, highest + jnp.log(total))


def d_keys_kernel(
    problem: Problem, mixed_ref: Any, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, normalizers_ref: Any, along_ref: Any, d_output_ref: Any, d_k_ref: Any, d_v_ref: Any,
    d_scores_ref: Any = None,
) -> None:  # fmt: skip
    """The gradients of a block of keys, of its values, and of its scores [keys, queries] if they are to be written."""
    j = pl.program_id(0)
    keys = [problem.load(ref, j, problem.keys) for ref in (k_ref, v_ref, key_segments_ref)]
    query_refs = (q_ref, query_segments_ref, normalizers_ref, along_ref, d_output_ref)

    def block(problem: Problem, i: Any, carry: Any) -> Any:
        d_k, d_v = carry
        queries = [problem.load(ref, i, problem.queries) for ref in query_refs]
        q, *_, d_output = queries
        # With the keys as rows, shares are the left operand as they are.
        bias = problem.bias(j - i, bias_ref, turned=True)
        shares, d_scores = problem.d_scores(i, j, queries, keys, bias, turned=True)
        d_v += plgpu.dot(shares.astype(d_output.dtype), d_output)
        d_scores = d_scores.astype(q.dtype)
        if d_scores_ref is not None:
            plgpu.store(_tile(d_scores_ref, i, j), d_scores)
        return d_k + plgpu.dot(d_scores, q), d_v

    blank = jnp.zeros(keys[0].shape, jnp.float32)
    first = j if problem.causal else 0
    d_k, d_v = problem.loop(mixed_ref, first, problem.query_blocks, block, (blank, blank))
    problem.store(d_k_ref, j, problem.keys, d_k)
    problem.store(d_v_ref, j, problem.keys, d_v)


def d_queries_kernel(
    problem: Problem, mixed_ref: Any, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, normalizers_ref: Any, along_ref: Any, d_output_ref: Any, d_q_ref: Any,
) -> None:  # fmt: skip
    """The gradient of a block of queries."""
    i = pl.program_id(0)
    query_refs = (q_ref, query_segments_ref, normalizers_ref, along_ref, d_output_ref)
    queries = [problem.load(ref, i, problem.queries) for ref in query_refs]

    def block(problem: Problem, j: Any, d_q: Any) -> Any:
        keys = [problem.load(ref, j, problem.keys) for ref in (k_ref, v_ref, key_segments_ref)]
        _, d_scores = problem.d_scores(i, j, queries, keys, problem.bias(j - i, bias_ref))
        return d_q + plgpu.dot(d_scores.astype(keys[0].dtype), keys[0])

    blank = jnp.zeros(queries[0].shape, jnp.float32)
    problem.store(d_q_ref, i, problem.queries, problem.loop(mixed_ref, 0, problem.seen_blocks(i), block, blank))


def d_bias_kernel(
    problem: Problem, mixed_ref: Any, q_ref: Any, k_ref: Any, v_ref: Any, bias_ref: Any, query_segments_ref: Any,
    key_segments_ref: Any, normalizers_ref: Any, along_ref: Any, d_output_ref: Any, d_bias_ref: Any,
) -> None:  # fmt: skip
    """The sum of the scores' gradients over the blocks on one diagonal, whose distances are the same, and some rows."""
    diagonal = pl.program_id(0) - (problem.query_blocks - 1)
    first, last = problem.on_diagonal(diagonal)
    bias = problem.bias(diagonal, bias_ref)
    query_refs = (q_ref, query_segments_ref, normalizers_ref, along_ref, d_output_ref)

    def row(problem: Problem, number: Any, d_bias: Any) -> Any:
        def block(i: Any, d_bias: Any) -> Any:
            j = i + diagonal
            queries = [problem.load(ref, i, problem.queries, number) for ref in query_refs]
            keys = [problem.load(ref, j, problem.keys, number) for ref in (k_ref, v_ref, key_segments_ref)]
            return d_bias + problem.d_scores(i, j, queries, keys, bias)[1]

        return jax.lax.fori_loop(first, last, block, d_bias)

    blank = jnp.zeros((BLOCK, BLOCK), jnp.float32)
    plgpu.store(d_bias_ref, problem.loop(mixed_ref, 0, q_ref.shape[0], row, blank))


def d_queries_from_d_scores_kernel(problem: Problem, d_scores_ref: Any, k_ref: Any, d_q_ref: Any) -> None:
    """The gradient of a block of queries, from those of the scores [keys, queries]."""
    i = pl.program_id(0)

    def block(j: Any, d_q: Any) -> Any:
        return d_q + plgpu.dot(plgpu.load(_tile(d_scores_ref, i, j)).T, problem.load(k_ref, j, problem.keys))

    blank = jnp.zeros((BLOCK, k_ref.shape[-1]), jnp.float32)
    problem.store(d_q_ref, i, problem.queries, jax.lax.fori_loop(0, problem.seen_blocks(i), block, blank))


def d_bias_from_d_scores_kernel(problem: Problem, d_scores_ref: Any, d_bias_ref: Any) -> None:
    """What `d_bias_kernel` computes, with the keys as rows, from the scores' gradients [rows, keys, queries]."""
    diagonal = pl.program_id(0) - (problem.query_blocks - 1)
    first, last = problem.on_diagonal(diagonal)

    def row(number: Any, d_bias: Any) -> Any:
        def block(i: Any, d_bias: Any) -> Any:
            return d_bias + plgpu.load(_tile(d_scores_ref, i, i + diagonal, number)).astype(jnp.float32)

        return jax.lax.fori_loop(first, last, block, d_bias)

    blank = jnp.zeros((BLOCK, BLOCK), jnp.float32)
    plgpu.store(d_bias_ref, jax.lax.fori_loop(0, d_scores_ref.shape[0], row, blank))
