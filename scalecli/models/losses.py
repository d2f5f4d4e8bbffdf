"""Losses of target tokens from hidden states, without the logits of a whole batch at once. keras.ops only."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from scalecli.costs.memory import MOST_LOGITS
from scalecli.models.blocks.scan import scan
from scalecli.models.compiled import uses_xla


def cross_entropy(logits: Any, targets: Any) -> tuple[Any, Any]:
    """Cross-entropy of each target in nats, and log Z of its softmax's normalizer Z: both [batch, targets], float32.

    Padding is not masked.
    """
    if not uses_xla():
        return _cross_entropy_by_kernels(logits, targets)
    log_normalizer = ops.logsumexp(logits, axis=-1)
    at_target = ops.sum(logits * ops.one_hot(targets, logits.shape[-1], dtype=logits.dtype), axis=-1)
    return log_normalizer - at_target, log_normalizer


@ops.custom_gradient
def _cross_entropy_by_kernels(logits: Any, targets: Any) -> tuple[Any, Callable[..., tuple[Any, None]]]:
    """`cross_entropy` in few passes over the logits, where nothing fuses them."""
    shares = ops.softmax(logits, axis=-1)
    # The largest share is no less than 1 / classes, so that its logarithm is exact.
    log_normalizer = ops.max(logits, axis=-1) - ops.log(ops.max(shares, axis=-1))
    # Where the targets' logits are, of all logits in one row.
    rows, classes = math.prod(targets.shape), logits.shape[-1]
    at_targets = ops.arange(rows, dtype="int32") * classes + ops.reshape(targets, (rows,))

    def gradient(d_losses: Any, d_log_normalizer: Any) -> tuple[Any, None]:
        d_logits = ops.reshape(shares * (d_losses + d_log_normalizer)[..., None], (-1,))
        d_logits = ops.scatter_update(d_logits, at_targets[:, None], -ops.reshape(d_losses, (rows,)), reduction="add")
        return ops.reshape(d_logits, logits.shape), None

    target_logits = ops.reshape(ops.take(ops.reshape(logits, (-1,)), at_targets), targets.shape)
    return (log_normalizer - target_logits, log_normalizer), gradient


def chunked_cross_entropy(
    head: Callable[[Any, Any], Any], weights: Any, hidden: Any, targets: Any, vocabulary: int
) -> tuple[Any, Any]:
    """`cross_entropy` of head(weights, hidden [batch, targets, d_model]), a chunk of positions at a time.

    The backward pass computes each chunk's logits again, unless a single chunk has room for all. Chunks are of
    positions, not of rows, since a batch's rows lie on different devices.
    """
    batch, length = targets.shape
    chunks = -(-length // max(1, min(length, MOST_LOGITS // (batch * vocabulary))))
    if chunks == 1:
        return cross_entropy(head(weights, hidden), targets)
    size = -(-length // chunks)

    def chunked(x: Any) -> Any:
        """[batch, length, ...] -> [chunks, batch, size, ...], padded with zeros."""
        padded = ops.pad(x, ((0, 0), (0, chunks * size - length), *((0, 0),) * (len(x.shape) - 2)))
        return ops.swapaxes(ops.reshape(padded, (batch, chunks, size, *x.shape[2:])), 0, 1)

    def body(_: Any, __: Any, chunk: Any, weights: Any) -> tuple[Any, Any]:
        hidden, targets = chunk
        narrow = {name: ops.cast(weight, hidden.dtype) for name, weight in weights.items()}
        return (), cross_entropy(head(narrow, hidden), targets)

    # The loop adds up the gradients of the chunks in the dtype of the weights that it is given.
    wide = {name: ops.cast(weight, "float32") for name, weight in weights.items()}
    nothing = ops.zeros((chunks, batch, size))
    _, results = scan(
        body, (), (chunked(hidden), chunked(targets)), wide, (nothing, nothing), chunks, rematerialise=True
    )
    losses, log_normalizers = (ops.reshape(ops.swapaxes(x, 0, 1), (batch, -1))[:, :length] for x in results)
    return losses, log_normalizers
