"""Matrix products and sums of squares in the forms that the backend's kernels are fast at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from scalecli.models.compiled import uses_xla

_MANY_ROWS = 128  # from where on it matters how a product's gradients are computed
_FEW_ROWS = range(4, 65)  # few beside a vocabulary, as in decoding


def product(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """The product of two stacks of matrices [..., rows, columns], either of them transposed.

    XLA reads transposed matrices where they lie; of TensorFlow's own kernels it has to be asked. If the second is
    transposed, only the kernel for stacks does so; the one for two matrices copies it first, unless rows are few.
    """
    if uses_xla():
        return ops.matmul(transposed(a) if transpose_a else a, transposed(b) if transpose_b else b)
    import tensorflow as tf

    rows = a.shape[-1] if transpose_a else a.shape[-2]
    if transpose_b and len(a.shape) == len(b.shape) == 2 and rows >= _FEW_ROWS.start:
        return tf.squeeze(tf.matmul(a[None], b[None], transpose_a=transpose_a, transpose_b=True), 0)
    return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def projected(x: Any, weight: Any) -> Any:
    """`x` [..., width] times a weight [width, new width]: [..., new width]."""
    plain = uses_xla() or math.prod(x.shape[:-1]) < _MANY_ROWS
    return ops.matmul(x, weight) if plain else _projected_by_kernels(x, weight)


@ops.custom_gradient
def _projected_by_kernels(x: Any, weight: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
    """`projected`; the kernel of the weight's gradient copies what it transposes, which is the narrower operand."""
    width, new_width = weight.shape
    rows = math.prod(x.shape[:-1])
    x_rows = ops.reshape(x, (rows, width))

    def gradient(upstream: Any) -> tuple[Any, Any]:
        upstream = ops.reshape(upstream, (rows, new_width))
        d_x = product(upstream, weight, transpose_b=True)
        if width > new_width and rows >= 2 * new_width:  # so that to transpose the result is little work
            d_weight = transposed(product(upstream, x_rows, transpose_a=True))
        else:
            d_weight = product(x_rows, upstream, transpose_a=True)
        return ops.reshape(d_x, x.shape), d_weight

    return ops.reshape(ops.matmul(x_rows, weight), (*x.shape[:-1], new_width)), gradient


def dot_products(x: Any, rows: Any) -> Any:
    """`x` [..., width] times the transpose of `rows` [count, width]: [..., count]."""
    if uses_xla():
        return ops.matmul(x, transposed(rows))
    x_rows = ops.reshape(x, (-1, x.shape[-1]))
    if x_rows.shape[0] in _FEW_ROWS:  # a product with `rows` on the left reads them once: 0.6 of the time
        products = transposed(product(rows[None], x_rows[None], transpose_b=True)[0])
    else:
        products = product(x_rows, rows, transpose_b=True)
    return ops.reshape(products, (*x.shape[:-1], rows.shape[0]))


def transposed(x: Any) -> Any:
    """The last two axes swapped."""
    return ops.swapaxes(x, -1, -2)


def sum_of_columns(x: Any, weights: Any) -> Any:
    """[batch, length, width] times `weights` [width], summed over the width: [batch, length, 1]."""
    if uses_xla():
        return ops.sum(x * weights, axis=-1, keepdims=True)
    return ops.matmul(x, weights[:, None])  # reads x once


def sum_of_rows(x: Any, weights: Any) -> Any:
    """[batch, length, width] times `weights` [batch, length, 1], summed over all rows: [width]."""
    if uses_xla():
        return ops.sum(x * weights, axis=(0, 1))
    return ops.matmul(ops.reshape(weights, (1, -1)), ops.reshape(x, (-1, x.shape[-1])))[0]


def mean_along(x: Any, axis: int, weights: Any = None) -> Any:
    """The mean over an axis of x, or of x times `weights`; where nothing fuses it, a product that reads x once."""
    last, length = len(x.shape) - 1, x.shape[axis]
    other = {last: last - 1, last - 1: last}.get(axis)
    if uses_xla() or other is None or (weights is not None and weights.shape[other] != 1):
        return ops.mean(x if weights is None else x * weights, axis=axis)
    along_axis = ops.ones((1, length)) if weights is None else weights
    if axis == last:
        along_axis = ops.reshape(along_axis, (*along_axis.shape[:-2], length, 1))
        return ops.matmul(x, along_axis)[..., 0] / length
    along_axis = ops.reshape(along_axis, (*along_axis.shape[:-2], 1, length))
    return ops.matmul(along_axis, x)[..., 0, :] / length


def mean_square(x: Any, axes: tuple[int, ...]) -> Any:
    """The mean of the squares over `axes`, none or the last one among them; the axes stay, with length 1."""
    if uses_xla() or not axes:
        return ops.mean(ops.square(x), axis=axes, keepdims=True)
    import tensorflow as tf

    # The norm of a row reads it once, and writes no squares. Of more than a row it would round too often.
    row_norms = tf.math.reduce_euclidean_norm(x, axis=-1, keepdims=True)
    mean_squares = ops.square(row_norms) / x.shape[-1]
    return ops.mean(mean_squares, axis=axes, keepdims=True) if len(axes) > 1 else mean_squares
