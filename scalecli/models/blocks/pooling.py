"""Pooling along the sequence (Funnel-Transformer, Dai et al. 2020). keras.ops only."""

from __future__ import annotations

from typing import Any

from keras import ops

from scalecli.models.layers import Context, masked_biases


def pooled(x: Any, real: Any, window: int) -> Any:
    """[batch, length, d_model] -> [batch, length / window, d_model], the means of neighbors that are no padding.

    The original code counts the padding of a window that holds both, so that its token matters there.
    """
    batch, length, width = x.shape
    real = ops.reshape(real, (batch, length // window, window, 1))
    shares = ops.cast(real / ops.maximum(ops.sum(real, axis=2, keepdims=True), 1.0), x.dtype)
    return ops.sum(ops.reshape(x, (batch, length // window, window, width)) * shares, axis=2)


def pooled_context(context: Context, window: int) -> Context:
    """What the layers behind a pooling see: of each window, its first position."""
    length = context.real.shape[1] // window
    position_biases = {heads: bias[:, :, :length, :length] for heads, bias in context.position_biases.items()}
    self_mask = None if context.self_mask is None else context.self_mask[:, :, ::window, ::window]
    return context._replace(
        position_biases=position_biases,
        masked_biases=masked_biases(position_biases, self_mask),
        self_mask=self_mask,
        real=context.real[:, ::window],
        tokens=context.tokens[:, ::window],
        bias_tiles={heads: _tiles_of_shorter(tiles, length) for heads, tiles in context.bias_tiles.items()},
        segments=context.segments[:, ::window],
    )


def _tiles_of_shorter(tiles: Any, length: int) -> Any:
    """Of the biases in blocks [heads, diagonals, block, block], the diagonals that `length` positions have."""
    blocks, shorter = (tiles.shape[1] + 1) // 2, -(-length // tiles.shape[2])
    return tiles[:, blocks - shorter : blocks + shorter - 1]
