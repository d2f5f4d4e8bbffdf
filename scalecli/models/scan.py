"""One loop over the layers of a stack, so that program size and compile time do not grow with depth.

Keras' own `ops.scan` can't be differentiated under XLA on the TensorFlow backend (its inner loop states no maximum
number of iterations), and TensorFlow's gradient of a slice taken in a loop adds a whole stack of zeros for each layer,
which makes the backward pass quadratic in depth. Hence this one function that knows its backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

# body(index, carry, slices, state) -> (carry, state): `slices` and `state` are those of layer `index`.
Body = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


def scan(body: Body, carry: Any, stacked: Any, state: Any, length: int) -> tuple[Any, Any]:
    """Runs `body` for layers 0 to length-1 in order.

    `stacked` is a nest of tensors [length, ...] (weights), of which each call sees its own slice [...]. `state` is
    another such nest that the calls may change (key/value caches); the changed one is returned after the last carry.
    The carry keeps its shapes and dtypes.
    """
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_scan(body, carry, stacked, state, length)

    def step(carry: Any, each: Any) -> tuple[Any, Any]:
        index, slices, layer_state = each
        return body(index, carry, slices, layer_state)

    return keras.ops.scan(step, carry, (keras.ops.arange(length, dtype="int32"), stacked, state), length)


def _tensorflow_scan(body: Body, carry: Any, stacked: Any, state: Any, length: int) -> tuple[Any, Any]:
    import tensorflow as tf

    def slice_of(whole: Any, index: Any) -> Any:
        rank = len(whole.shape)
        return tf.reshape(tf.slice(whole, [index, *[0] * (rank - 1)], [1, *whole.shape[1:]]), whole.shape[1:])

    def with_slice(whole: Any, index: Any, part: Any) -> Any:
        return tf.tensor_scatter_nd_update(whole, [[index]], part[tf.newaxis])

    def read(flat: list[Any], index: Any) -> tuple[list[Any], list[Any]]:
        """The stacks themselves and their slices.

        The stacks go round the loop with the carry, so that in the backward pass their gradients do: each layer then
        writes its slice in place, where the gradient of a plain slice would be added to all layers.
        """

        @tf.custom_gradient
        def read_all(*whole: Any) -> Any:
            def gradient(*upstream: Any) -> list[Any]:
                wholes, parts = upstream[: len(whole)], upstream[len(whole) :]
                return [with_slice(each, index, part) for each, part in zip(wholes, parts, strict=True)]

            return [tf.identity(each) for each in whole] + [slice_of(each, index) for each in whole], gradient

        outputs = read_all(*flat) if flat else []
        return outputs[: len(flat)], outputs[len(flat) :]

    def step(index: Any, carry: Any, flat: list[Any], state: Any) -> tuple[Any, ...]:
        flat, slices = read(list(flat), index)
        layer_state = tf.nest.map_structure(lambda whole: slice_of(whole, index), state)
        carry, layer_state = body(index, carry, tf.nest.pack_sequence_as(stacked, slices), layer_state)
        state = tf.nest.map_structure(lambda whole, part: with_slice(whole, index, part), state, layer_state)
        return index + 1, carry, flat, state

    flat = [tf.convert_to_tensor(each) for each in tf.nest.flatten(stacked)]
    state = tf.nest.map_structure(tf.convert_to_tensor, state)
    _, carry, _, state = tf.while_loop(
        lambda index, *_: index < length, step, (tf.constant(0), carry, flat, state), maximum_iterations=length
    )
    return carry, state
