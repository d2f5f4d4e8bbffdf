"""Softmax attention in plain XLA whose memory is linear in the length: the scores of one block of keys at a time.

For long sequences where there are no kernels for it: on TPUs, and on GPUs with TensorFlow. The softmax is online (Rabe
and Staats 2021; FlashAttention-2, Dao 2023), and the backward pass computes each block's scores again. keras.ops only.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from scalecli.models.blocks.scan import scan
from scalecli.models.layers.base import MASKED

_LARGEST_BLOCK, _LANES = 512, 128


def block_size(length: int) -> int:
    """Positions of a block: equal blocks of at most 512, in multiples of the 128 that a TPU computes at once."""
    return _rounded_up(-(-length // -(-length // _LARGEST_BLOCK)), _LANES)


def blockwise_attention(
    queries: Any, keys: Any, values: Any, bias: Any, query_segments: Any, key_segments: Any, causal: bool
) -> Any:
    """softmax(Q K^T + bias) V over the keys of each query's own segment, [batch, heads, queries, d_kv].

    Args:
        queries: [batch, heads, queries, d_kv].
        keys: [batch, heads or 1, keys, d_kv], and so are the values.
        values: See `keys`.
        bias: float32 [heads, diagonals, block, block] from `bias_tiles`, or None.
        query_segments: int32 [batch, queries].
        key_segments: int32 [batch, keys].
        causal: Whether a query sees no later key.
    """
    heads, length, count = queries.shape[1], queries.shape[2], keys.shape[2]
    size = block_size(count) if bias is None else bias.shape[-1]
    blocks, query_blocks = -(-count // size), -(-length // size)

    @ops.custom_gradient
    def attend(queries: Any, keys: Any, values: Any, query_segments: Any, key_segments: Any, *tiles: Any) -> Any:
        stacked = tuple(_blocks(x, axis, blocks, size) for x, axis in ((keys, 2), (values, 2), (key_segments, 1)))
        tile_shape = (heads, query_blocks, size, size)

        def scores_of(index: Any, keys: Any, segments: Any) -> Any:
            """float32 [batch, heads, queries, block]."""
            scores = ops.cast(ops.matmul(queries, ops.swapaxes(keys, -1, -2)), "float32")
            for tile in tiles:  # those of the last queries come first
                block_tiles = ops.flip(ops.slice(tile, (0, index, 0, 0), tile_shape), axis=1)
                scores = scores + ops.reshape(block_tiles, (heads, query_blocks * size, size))[:, :length]
            positions = index * size + ops.arange(size, dtype="int32")
            seen = query_segments[:, :, None] == segments[:, None, :]
            if causal:
                seen = ops.logical_and(seen, ops.arange(length, dtype="int32")[:, None] >= positions)
            return ops.where(positions < count, ops.where(seen[:, None], scores, MASKED), -float("inf"))

        def forward(index: Any, carry: Any, block: Any, _: Any) -> tuple[Any, Any]:
            output, highest, total = carry
            keys, values, segments = block
            scores = scores_of(index, keys, segments)
            higher = ops.maximum(highest, ops.max(scores, axis=-1, keepdims=True))
            correction, shares = ops.exp(highest - higher), ops.exp(scores - higher)
            mixed = ops.cast(ops.matmul(ops.cast(shares, values.dtype), values), "float32")
            total = total * correction + ops.sum(shares, axis=-1, keepdims=True)
            return (output * correction + mixed, higher, total), ()

        nothing = ops.zeros((*queries.shape[:3], 1))
        start = (ops.zeros(queries.shape), nothing - float("inf"), nothing)
        (output, highest, total), _ = scan(forward, start, stacked, (), (), blocks)
        output, normalizer = ops.cast(output / total, values.dtype), highest + ops.log(total)

        def gradient(upstream: Any) -> tuple[Any, ...]:
            along = ops.sum(ops.cast(upstream, "float32") * ops.cast(output, "float32"), axis=-1, keepdims=True)

            def backward(index: Any, carry: Any, block: Any, _: Any) -> tuple[Any, Any]:
                d_queries, *d_tiles = carry
                keys, values, segments = block
                shares = ops.exp(scores_of(index, keys, segments) - normalizer)
                d_values = ops.matmul(ops.swapaxes(ops.cast(shares, upstream.dtype), -1, -2), upstream)
                d_shares = ops.cast(ops.matmul(upstream, ops.swapaxes(values, -1, -2)), "float32")
                d_scores = shares * (d_shares - along)
                for number, tile in enumerate(d_tiles):
                    whole = ops.pad(ops.sum(d_scores, axis=0), ((0, 0), (0, query_blocks * size - length), (0, 0)))
                    block_tiles = ops.flip(ops.reshape(whole, tile_shape), axis=1)
                    corner = (0, index, 0, 0)
                    d_tiles[number] = ops.slice_update(tile, corner, ops.slice(tile, corner, tile_shape) + block_tiles)
                d_scores = ops.cast(d_scores, queries.dtype)
                d_keys = ops.matmul(ops.swapaxes(d_scores, -1, -2), queries)
                d_queries = d_queries + ops.cast(ops.matmul(d_scores, keys), "float32")
                return (d_queries, *d_tiles), (_summed(d_keys, keys), _summed(d_values, values))

            start = (ops.zeros(queries.shape), *map(ops.zeros_like, tiles))
            blank = (ops.zeros_like(stacked[0]), ops.zeros_like(stacked[1]))
            (d_queries, *d_tiles), d_blocks = scan(backward, start, stacked, (), blank, blocks)
            d_keys, d_values = (_joined(x)[:, :, :count] for x in d_blocks)
            return ops.cast(d_queries, queries.dtype), d_keys, d_values, None, None, *d_tiles

        return output, gradient

    return attend(queries, keys, values, query_segments, key_segments, *(() if bias is None else (bias,)))


def bias_tiles(by_distance: Any, queries: int, keys: int, block: int, numpy: Any = ops) -> Any:
    """The bias of each block of queries and keys [heads, diagonals, block, block]; all blocks on a diagonal share one.

    Args:
        by_distance: float32 [heads, queries + keys - 1], for the distances key - query from 1 - queries to keys - 1.
        queries: How many queries there are.
        keys: How many keys there are.
        block: How many of each a block has.
        numpy: The library of arrays that computes it.
    """
    heads, blocks = by_distance.shape[0], -(-queries // block)
    diagonals = blocks + -(-keys // block) - 1
    before = blocks * block - queries
    width = (diagonals + 1) * block
    padded = numpy.pad(by_distance, ((0, 0), (before, width - before - by_distance.shape[1])))
    near, far = (numpy.reshape(x, (heads, diagonals, 1, block)) for x in (padded[:, :-block], padded[:, block:]))
    # Of rows of twice the block, repeated, and read with rows one shorter, each lies one distance further on.
    period = 2 * block
    rows = numpy.broadcast_to(numpy.concatenate([near, far], axis=3), (heads, diagonals, block, period))
    skewed = numpy.reshape(rows, (heads, diagonals, block * period))[..., : block * (period - 1)]
    return numpy.reshape(skewed, (heads, diagonals, block, period - 1))[..., block - 1 :]


def _blocks(x: Any, axis: int, blocks: int, size: int) -> Any:
    """[..., length, ...] -> [blocks, ..., size, ...], padded with zeros."""
    padding = [(0, 0)] * len(x.shape)
    padding[axis] = (0, blocks * size - x.shape[axis])
    padded = ops.reshape(ops.pad(x, padding), (*x.shape[:axis], blocks, size, *x.shape[axis + 1 :]))
    return ops.moveaxis(padded, axis, 0)


def _joined(blocks: Any) -> Any:
    """[blocks, batch, heads, size, d_kv] -> [batch, heads, blocks * size, d_kv]."""
    count, batch, heads, size, width = blocks.shape
    return ops.reshape(ops.moveaxis(blocks, 0, 2), (batch, heads, count * size, width))


def _summed(d_x: Any, x: Any) -> Any:
    """The sum over the heads that share those of `x`."""
    return d_x if d_x.shape[1] == x.shape[1] else ops.sum(d_x, axis=1, keepdims=True)


def _rounded_up(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple
