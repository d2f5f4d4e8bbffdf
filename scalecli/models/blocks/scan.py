"""One loop over the layers of a stack, so that program size and compile time do not grow with depth.

Keras' own `ops.scan` can't be differentiated under XLA on the TensorFlow backend (its inner loop states no maximum
number of iterations), and TensorFlow's gradient of a slice taken in a loop adds a whole stack of zeros for each layer,
which makes the backward pass quadratic in depth. Hence this one function that knows its backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from scalecli.models.compiled import uses_xla

# body(index, carry, slices, state) -> (carry, state): `slices` and `state` are those of layer `index`.
Body = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
# body(index, carry, slices, shared) -> (carry, output): `shared` is the same for all layers.
RematerialisedBody = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


class Unstacked(NamedTuple):
    """Stacked tensors taken apart: one nest of tensors [...] for each layer."""

    layers: tuple[Any, ...]


def unstack(stacked: Any, length: int) -> Unstacked:
    """Takes a nest of tensors [length, ...] apart, once and for all scans that follow.

    A scan then runs layer by layer without slicing. Where a small step is repeated often, as in decoding, slices cost
    more than the step, unless XLA fuses them into what uses them.
    """
    return Unstacked(tuple(keras.tree.map_structure(lambda whole, i=i: whole[i], stacked) for i in range(length)))


def scan(body: Body, carry: Any, stacked: Any, state: Any, length: int, unrolled: bool = False) -> tuple[Any, Any]:
    """Runs `body` for layers 0 to length-1 in order.

    `stacked` is a nest of tensors [length, ...] (weights), of which each call sees its own slice [...]. `state` is
    another such nest that the calls may change (key/value caches); the changed one is returned after the last carry.
    The carry keeps its shapes and dtypes. Both nests stacked, or both `Unstacked`. A body may scan itself; weights that
    it finds outside of the scan are shared by all calls, and each adds one gradient of their size. On JAX it may be
    unrolled: one call after another instead of a loop.
    """
    if isinstance(stacked, Unstacked):
        after = []
        for index in range(length):
            carry, layer_state = body(index, carry, stacked.layers[index], state.layers[index])
            after.append(layer_state)
        return carry, Unstacked(tuple(after))
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_scan(body, carry, stacked, state, length)

    def step(carry: Any, each: Any) -> tuple[Any, Any]:
        index, slices, layer_state = each
        return body(index, carry, slices, layer_state)

    layers = (keras.ops.arange(length, dtype="int32"), stacked, state)
    return keras.ops.scan(step, carry, layers, length, unroll=unrolled)


def rematerialised_scan(
    body: RematerialisedBody, carry: Any, stacked: Any, shared: Any, blank: Any, length: int
) -> tuple[Any, Any]:
    """A scan whose backward pass keeps each call's carry alone, and runs the call again for all else.

    `stacked` and `carry` are as in `scan`; `shared` is a nest of tensors that all calls see. What the calls return
    beside the carry takes the place of `blank`, a nest of tensors [length, ...], and is returned after the last carry.
    Gradients flow to carry, stacked and shared; whatever else the body finds outside is taken for a constant. A body
    must compute the same when it runs again: randomness is to come from seeds.
    """
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_rematerialised_scan(body, carry, stacked, shared, blank, length)

    def step(carry: Any, each: Any) -> tuple[Any, Any]:
        index, slices = each
        return body(index, carry, slices, shared)

    indices = keras.ops.arange(length, dtype="int32")
    return keras.ops.scan(keras.remat(step), carry, (indices, stacked), length)


def _tensorflow_rematerialised_scan(
    body: RematerialisedBody, carry: Any, stacked: Any, shared: Any, blank: Any, length: int
) -> tuple[Any, Any]:
    import tensorflow as tf

    stacked, shared = tf.nest.map_structure(tf.convert_to_tensor, (stacked, shared))

    def again(index: Any, slices: Any) -> Any:
        """The slices once more: XLA takes them from the stacks, so that no copies are kept; others are references."""
        return tf.nest.map_structure(lambda whole: _slice(whole, index), stacked) if uses_xla() else slices

    def scanned(index: Any, carry: Any, slices: Any, _: Any) -> tuple[Any, Any]:
        nests = (carry, slices, shared)

        @tf.custom_gradient
        def run(*inputs: Any) -> Any:
            carry, slices, shared = tf.nest.pack_sequence_as(nests, inputs)

            def gradient(*upstream: Any) -> list[Any]:
                sources = tf.nest.flatten((carry, again(index, slices), shared))
                with tf.GradientTape() as tape:
                    tape.watch([source for source in sources if source.dtype.is_floating])
                    outputs = tf.nest.flatten(body(index, *tf.nest.pack_sequence_as(nests, sources)))
                return tape.gradient(outputs, sources, upstream)

            return tf.nest.flatten(body(index, carry, slices, shared)), gradient

        carry, output = tf.nest.pack_sequence_as((carry, blank), run(*tf.nest.flatten(nests)))
        return carry, output

    return _tensorflow_scan(scanned, carry, stacked, blank, length)


def _tensorflow_scan(body: Body, carry: Any, stacked: Any, state: Any, length: int) -> tuple[Any, Any]:
    import tensorflow as tf

    read, flat = _xla_reader(stacked) if uses_xla() else _kernel_reader(stacked)

    def step(index: Any, carry: Any, flat: list[Any], state: Any) -> tuple[Any, ...]:
        flat, slices = read(list(flat), index)
        layer_state = tf.nest.map_structure(lambda whole: _slice(whole, index), state)
        carry, layer_state = body(index, carry, tf.nest.pack_sequence_as(stacked, slices), layer_state)
        state = tf.nest.map_structure(lambda whole, part: _with_slice(whole, index, part), state, layer_state)
        return index + 1, carry, flat, state

    state = tf.nest.map_structure(tf.convert_to_tensor, state)
    _, carry, _, state = tf.while_loop(
        lambda index, *_: index < length, step, (tf.constant(0), carry, flat, state), maximum_iterations=length
    )
    return carry, state


def _slice(whole: Any, index: Any) -> Any:
    """[length, ...] -> [...]."""
    import tensorflow as tf

    start, size = [index, *[0] * (len(whole.shape) - 1)], [1, *whole.shape[1:]]
    return tf.reshape(tf.slice(whole, start, size), whole.shape[1:])


def _with_slice(whole: Any, index: Any, part: Any) -> Any:
    """`whole` [length, ...] with `part` [...] at `index`."""
    import tensorflow as tf

    return tf.tensor_scatter_nd_update(whole, [[index]], part[tf.newaxis])


# A reader gives the stacks as they go round the loop with the carry, and a function that takes a layer's slices out of
# them. In the backward pass the stacks' gradients then go round, and each layer puts its own into them; the gradient of
# a plain slice would be a whole stack of zeros for every layer.
Reader = tuple[Callable[[list[Any], Any], tuple[list[Any], list[Any]]], list[Any]]


def _xla_reader(stacked: Any) -> Reader:
    """Stacks as tensors, whose gradients XLA updates in place."""
    import tensorflow as tf

    def read(flat: list[Any], index: Any) -> tuple[list[Any], list[Any]]:
        @tf.custom_gradient
        def read_all(*whole: Any) -> Any:
            def gradient(*upstream: Any) -> list[Any]:
                wholes, parts = upstream[: len(whole)], upstream[len(whole) :]
                pairs = zip(wholes, parts, strict=True)  # integers have no gradients
                return [whole if part is None else _with_slice(whole, index, part) for whole, part in pairs]

            return [tf.identity(each) for each in whole] + [_slice(each, index) for each in whole], gradient

        outputs = read_all(*flat) if flat else []
        return outputs[: len(flat)], outputs[len(flat) :]

    return read, [tf.convert_to_tensor(each) for each in tf.nest.flatten(stacked)]


def _kernel_reader(stacked: Any) -> Reader:
    """Stacks as lists of tensors, which TensorFlow's own kernels take apart and add up without copies."""
    import tensorflow as tf

    def read(flat: list[Any], index: Any) -> tuple[list[Any], list[Any]]:
        return flat, [array.read(index) for array in flat]

    def array_of(stack: Any) -> Any:
        array = tf.TensorArray(stack.dtype, stack.shape[0], clear_after_read=False, element_shape=stack.shape[1:])
        return array.unstack(stack)

    return read, [array_of(tf.convert_to_tensor(each)) for each in tf.nest.flatten(stacked)]
