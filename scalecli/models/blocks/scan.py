"""One loop over the layers of a stack, so that program size and compile time do not grow with depth.

Keras' own `ops.scan` can't be differentiated under XLA on the TensorFlow backend (its inner loop states no maximum
number of iterations), and TensorFlow's gradient of a slice taken in a loop adds a whole stack of zeros for each layer,
which makes the backward pass quadratic in depth. Hence these functions, which know their backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import keras

from scalecli.models.compiled import has_loops, uses_xla

# body(index, carry, slices, shared) -> (carry, output)
Body = Callable[[Any, Any, Any, Any], tuple[Any, Any]]
# body(index, carry, slices, state) -> (carry, state)
StatefulBody = Callable[[Any, Any, Any, Any], tuple[Any, Any]]


class Unstacked(NamedTuple):
    """Stacked tensors taken apart: one nest of tensors [...] for each layer."""

    layers: tuple[Any, ...]


def unstack(stacked: Any, length: int) -> Unstacked:
    """Takes a nest of tensors [length, ...] apart, once and for all scans that follow.

    A scan then runs layer by layer without slicing. Where a small step is repeated often, as in decoding, slices cost
    more than the step, unless XLA fuses them into what uses them.
    """
    return Unstacked(tuple(keras.tree.map_structure(lambda whole, i=i: whole[i], stacked) for i in range(length)))


def scan(
    body: Body,
    carry: Any,
    stacked: Any,
    shared: Any,
    outputs: Any,
    length: int,
    rematerialise: bool = False,
    unrolled: bool = False,
) -> tuple[Any, Any]:
    """Calls `body(index, carry, slices, shared)` for layers 0 to length - 1 in order; it returns (carry, output).

    A body may scan itself. Tensors that it finds outside of the scan are shared by all calls, too, but no gradient
    flows to them where activations are rematerialized; a body that runs again must compute the same, so that its
    randomness is to come from seeds.

    Args:
        body: The layer.
        carry: What goes from layer to layer, a nest of tensors that keep their shapes and dtypes.
        stacked: A nest of tensors [length, ...], such as weights; each call gets its own slices [...].
        shared: A nest of tensors that all calls get. The gradients for it are added up.
        outputs: A nest of tensors [length, ...], whose places the calls' outputs [...] take.
        length: The number of layers.
        rematerialise: Keep only each call's carry for the backward pass, which then runs the call again.
        unrolled: On JAX, one call after another instead of a loop.

    Returns:
        The last carry, and the outputs [length, ...].
    """
    if not has_loops():
        results = []
        for index, slices in enumerate(unstack(stacked, length).layers):
            carry, output = body(index, carry, slices, shared)
            results.append(output)
        return carry, keras.tree.map_structure(lambda *layers: keras.ops.stack(layers), *results)
    if keras.backend.backend() == "tensorflow":
        run = _tensorflow_rematerialised_scan if rematerialise else _tensorflow_scan
        return run(body, carry, stacked, shared, outputs, length)

    def step(carry: Any, layer: Any) -> tuple[Any, Any]:
        return body(layer[0], carry, layer[1], shared)

    layers = (keras.ops.arange(length, dtype="int32"), stacked)
    return keras.ops.scan(keras.remat(step) if rematerialise else step, carry, layers, length, unroll=unrolled)


def scan_with_state(body: StatefulBody, carry: Any, stacked: Any, state: Any, length: int) -> tuple[Any, Any]:
    """Calls `body(index, carry, slices, state)` for layers 0 to length - 1 in order; it returns (carry, state).

    Args:
        body: One decoding step of the layer.
        carry: As in `scan`.
        stacked: As in `scan`.
        state: A nest of tensors [length, ...] that the calls change, such as key/value caches; each gets its slices.
            Both it and `stacked` may be `Unstacked` instead.
        length: The number of layers.

    Returns:
        The last carry, and the changed state.
    """
    if isinstance(stacked, Unstacked):
        changed = []
        for index in range(length):
            carry, layer_state = body(index, carry, stacked.layers[index], state.layers[index])
            changed.append(layer_state)
        return carry, Unstacked(tuple(changed))
    if keras.backend.backend() == "tensorflow":
        return _tensorflow_loop(body, carry, stacked, state, length)

    def step(carry: Any, layer: Any) -> tuple[Any, Any]:
        index, slices, layer_state = layer
        return body(index, carry, slices, layer_state)

    return keras.ops.scan(step, carry, (keras.ops.arange(length, dtype="int32"), stacked, state), length)


def _tensorflow_scan(body: Body, carry: Any, stacked: Any, shared: Any, outputs: Any, length: int) -> tuple[Any, Any]:
    return _tensorflow_loop(
        lambda index, carry, slices, _: body(index, carry, slices, shared), carry, stacked, outputs, length
    )


def _tensorflow_rematerialised_scan(
    body: Body, carry: Any, stacked: Any, shared: Any, outputs: Any, length: int
) -> tuple[Any, Any]:
    import tensorflow as tf

    def tensors(nest: Any) -> Any:
        return tf.nest.map_structure(lambda leaf: leaf if leaf is None else tf.convert_to_tensor(leaf), nest)

    stacked, shared = tensors(stacked), tensors(shared)

    def again(index: Any, slices: Any) -> Any:
        """The slices once more: XLA takes them from the stacks, so that no copies are kept; others are references."""
        return tf.nest.map_structure(lambda whole: _slice(whole, index), stacked) if uses_xla() else slices

    def layer(index: Any, carry: Any, slices: Any, _: Any) -> tuple[Any, Any]:
        nests = (carry, slices, shared)
        present = [leaf is not None for leaf in tf.nest.flatten(nests)]

        def packed(inputs: Any) -> Any:
            rest = iter(inputs)
            return tf.nest.pack_sequence_as(nests, [next(rest) if there else None for there in present])

        def flat(nest: Any) -> list[Any]:
            return [leaf for leaf in tf.nest.flatten(nest) if leaf is not None]

        @tf.custom_gradient
        def run(*inputs: Any) -> Any:
            carry, slices, shared = packed(inputs)

            def gradient(*upstream: Any) -> list[Any]:
                sources = flat((carry, again(index, slices), shared))
                with tf.GradientTape() as tape:
                    tape.watch([source for source in sources if source.dtype.is_floating])
                    results = tf.nest.flatten(body(index, *packed(sources)))
                return tape.gradient(results, sources, upstream)

            return tf.nest.flatten(body(index, carry, slices, shared)), gradient

        return tf.nest.pack_sequence_as((carry, outputs), run(*flat(nests)))

    return _tensorflow_loop(layer, carry, stacked, outputs, length)


def _tensorflow_loop(body: StatefulBody, carry: Any, stacked: Any, state: Any, length: int) -> tuple[Any, Any]:
    import tensorflow as tf

    flat = [tf.convert_to_tensor(stack) for stack in tf.nest.flatten(stacked)]

    def step(index: Any, carry: Any, flat: list[Any], state: Any) -> tuple[Any, ...]:
        flat, slices = _with_layer(list(flat), index)
        layer_state = tf.nest.map_structure(lambda whole: _slice(whole, index), state)
        carry, layer_state = body(index, carry, tf.nest.pack_sequence_as(stacked, slices), layer_state)
        state = tf.nest.map_structure(lambda whole, part: _with_slice(whole, index, part), state, layer_state)
        return index + 1, carry, flat, state

    state = tf.nest.map_structure(tf.convert_to_tensor, state)
    _, carry, flat, state = tf.while_loop(
        lambda index, *_: index < length, step, (tf.constant(0), carry, flat, state), maximum_iterations=length
    )
    return (carry, state) if uses_xla() or not flat else _with_empty_gradients((carry, state), flat)


def _slice(whole: Any, index: Any) -> Any:
    """[length, ...] -> [...]."""
    import tensorflow as tf

    start, size = [index, *[0] * (len(whole.shape) - 1)], [1, *whole.shape[1:]]
    return tf.reshape(tf.slice(whole, start, size), whole.shape[1:])


def _with_slice(whole: Any, index: Any, part: Any) -> Any:
    """`whole` [length, ...] with `part` [...] at `index`."""
    import tensorflow as tf

    return tf.tensor_scatter_nd_update(whole, [[index]], part[tf.newaxis])


def _with_layer(flat: list[Any], index: Any) -> tuple[list[Any], list[Any]]:
    """The stacks, as they go round the loop with the carry, and a layer's slices of them.

    In the backward pass the stacks' gradients go round, and each layer puts its own into them; the gradient of a plain
    slice would be a whole stack of zeros for every layer.
    """
    import tensorflow as tf

    if not flat:
        return [], []

    @tf.custom_gradient
    def read(*whole: Any) -> Any:
        def gradient(*upstream: Any) -> list[Any]:
            wholes, parts = upstream[: len(whole)], upstream[len(whole) :]
            pairs = zip(wholes, parts, strict=True)  # integers have no gradients
            return [whole if part is None else _with_gradient(whole, index, part) for whole, part in pairs]

        return [tf.identity(stack) for stack in whole] + [_slice(stack, index) for stack in whole], gradient

    outputs = read(*flat)
    return outputs[: len(flat)], outputs[len(flat) :]


def _with_gradient(whole: Any, index: Any, part: Any) -> Any:
    """`_with_slice` for gradients. XLA changes them in place; other kernels have to be told.

    Nothing else may use `whole`, for which `_with_empty_gradients` cares.
    """
    import tensorflow as tf

    if uses_xla():
        return _with_slice(whole, index, part)
    return tf.raw_ops.InplaceUpdate(x=whole, i=[index], v=part[tf.newaxis])


def _with_empty_gradients(results: Any, stacks: list[Any]) -> Any:
    """The results of a loop, through which its stacks get gradients without values: its layers write all of them.

    Otherwise they would be zeros, of which TensorFlow has one tensor for all stacks of a shape.
    """
    import tensorflow as tf

    flat = tf.nest.flatten(results)

    @tf.custom_gradient
    def through(*tensors: Any) -> Any:
        def gradient(*upstream: Any) -> list[Any]:
            return [*upstream, *(tf.raw_ops.Empty(shape=stack.shape, dtype=stack.dtype) for stack in stacks)]

        return [tf.identity(tensor) for tensor in tensors[: len(flat)]], gradient

    return tf.nest.pack_sequence_as(results, through(*flat, *stacks))
