"""Matrix products in the forms that the backend's kernels are fast at."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from keras import ops

from scalecli.models.compiled import uses_xla


def product(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    """The product of two stacks of matrices [..., rows, columns], either of them transposed.

    XLA reads transposed matrices where they lie; of TensorFlow's own kernels it has to be asked.
    """
    if uses_xla():
        return ops.matmul(transposed(a) if transpose_a else a, transposed(b) if transpose_b else b)
    import tensorflow as tf

    return tf.matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b)


def projected(x: Any, weight: Any) -> Any:
    """`x` [..., width] times a weight [width, new width]: [..., new width]."""
    return ops.matmul(x, weight) if uses_xla() else _projected_by_kernels(x, weight)


@ops.custom_gradient
def _projected_by_kernels(x: Any, weight: Any) -> tuple[Any, Callable[[Any], tuple[Any, Any]]]:
    """`projected`, where a kernel copies the matrix that it is to read transposed: the smaller one should be that."""
    width, new_width = weight.shape
    rows = math.prod(x.shape[:-1])
    x_rows = ops.reshape(x, (rows, width))

    def gradient(upstream: Any) -> tuple[Any, Any]:
        upstream = ops.reshape(upstream, (rows, new_width))
        if width <= new_width <= rows / 2:  # many rows make up for a copy
            d_x = ops.matmul(upstream, transposed(weight))
        else:
            d_x = product(upstream, weight, transpose_b=True)
        if width <= new_width:
            d_weight = product(x_rows, upstream, transpose_a=True)
        else:
            d_weight = transposed(product(upstream, x_rows, transpose_a=True))
        return ops.reshape(d_x, x.shape), d_weight

    return ops.reshape(ops.matmul(x_rows, weight), (*x.shape[:-1], new_width)), gradient


def transposed(x: Any) -> Any:
    """The last two axes swapped."""
    return ops.swapaxes(x, -1, -2)
