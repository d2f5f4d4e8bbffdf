"""The scan over layers against the loop that it stands for, compiled by XLA and not."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from scalecli.models.blocks.scan import scan, scan_with_state, unstack
from tests.xla import either_way, use_xla

LAYERS, WIDTH = 5, 4


def body(index, carry, weights, state):
    """A layer that reads all it is given: its number, its weights, its state, and a carry of two parts."""
    x, total = carry
    hidden = ops.tanh(ops.matmul(x, weights["kernel"]) + weights["bias"]) * ops.cast(index + 1, "float32") / LAYERS
    new_state = {name: each + ops.mean(hidden, axis=0) for name, each in state.items()}
    seen = sum((ops.sum(each) for each in state.values()), ops.zeros(()))
    return (x + hidden, total + ops.sum(ops.square(hidden)) + seen), new_state


def unrolled(body, carry, stacked, state, length):
    after = []
    for index in range(length):
        layer_state = {name: whole[index] for name, whole in state.items()}
        carry, layer_state = body(index, carry, {name: whole[index] for name, whole in stacked.items()}, layer_state)
        after.append(layer_state)
    return carry, {name: ops.stack([each[name] for each in after]) for name in state}


def scanned(body, carry, stacked, state, length, rematerialise=False):
    """The first layer's bias is added to all others', as what the layers share; the old state is another stack."""

    def of_layer(index, carry, slices, shared):
        weights, layer_state = slices
        return body(index, carry, {**weights, "bias": weights["bias"] + shared["bias"]}, layer_state)

    shared = {"bias": stacked["bias"][0], "absent": None}
    return scan(of_layer, carry, (stacked, state), shared, state, length, rematerialise)


rematerialised = functools.partial(scanned, rematerialise=True)


def unrolled_with_shared_bias(body, carry, stacked, state, length):
    return unrolled(body, carry, {**stacked, "bias": stacked["bias"] + stacked["bias"][:1]}, state, length)


def values():
    random = np.random.default_rng(0)
    draw = lambda *shape: random.normal(scale=0.5, size=shape).astype("float32")  # noqa: E731
    return draw(3, WIDTH), {"kernel": draw(LAYERS, WIDTH, WIDTH), "bias": draw(LAYERS, WIDTH)}, draw(LAYERS, WIDTH)


def value_and_gradients(loop, with_state, xla):
    """Loss, outputs, and the loss's gradients for x, kernel, bias and, where there is one, state."""
    x, stacked, state = values()

    def loss_of(x, kernel, bias, state):
        weights = {"kernel": kernel, "bias": bias}
        (x, total), state = loop(body, (x, ops.zeros(())), weights, {"cache": state} if with_state else {}, LAYERS)
        return ops.sum(ops.sin(x)) + total + sum(ops.sum(ops.cos(each)) for each in state.values()), (x, state)

    arguments = [x, stacked["kernel"], stacked["bias"], state]
    counted = 4 if with_state else 3
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=xla)
        def compute(*arguments):
            with tf.GradientTape() as tape:
                tape.watch(arguments[:counted])
                loss, outputs = loss_of(*arguments)
            return loss, outputs, tape.gradient(loss, arguments[:counted])

        results = compute(*map(tf.constant, arguments))
    else:
        import jax

        both = jax.jit(jax.value_and_grad(loss_of, argnums=tuple(range(counted)), has_aux=True))
        (loss, outputs), gradients = both(*arguments)
        results = loss, outputs, gradients
    return [np.asarray(each) for each in keras.tree.flatten(results)]


def passes(loop, outer):
    """`loop` over the layers within `outer` over three passes, which share the layers' weights and have own state."""

    def nested(body, carry, stacked, state, length):
        def one_pass(number, carry, _, state):
            (x, total), state = loop(body, carry, stacked, state, length)
            return (x * ops.cast(number + 1, "float32") / 2, total), state

        each = {name: ops.stack([whole, 2 * whole, 3 * whole]) for name, whole in state.items()}
        return outer(one_pass, carry, {}, each, 3)

    return nested


# A loop, and what it stands for.
each_loop = pytest.mark.parametrize(
    ("loop", "written_out"),
    [
        (scan_with_state, unrolled),
        (scanned, unrolled_with_shared_bias),
        (rematerialised, unrolled_with_shared_bias),
    ],
    ids=["with state", "scanned", "rematerialised"],
)


@either_way
@each_loop
@pytest.mark.parametrize("with_state", [False, True])
def test_loops_within_loops_add_up_the_gradients_of_shared_weights(loop, written_out, with_state, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    loops = (passes(loop, scan_with_state), passes(written_out, unrolled))
    found, expected = (value_and_gradients(each, with_state, xla) for each in loops)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
        assert np.abs(theirs).max() > 1e-2  # so that the tolerance means something


@either_way
@each_loop
@pytest.mark.parametrize("with_state", [False, True])
def test_values_and_gradients_are_the_unrolled_loops(loop, written_out, with_state, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    found, expected = (value_and_gradients(each, with_state, xla) for each in (loop, written_out))
    assert len(found) == len(expected) == (7 if with_state else 5)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)
        assert np.abs(theirs).max() > 1e-2  # so that the tolerance means something
        if theirs.ndim == 3:
            assert (np.abs(theirs).max(axis=(1, 2)) > 1e-3).all()  # every layer's weights matter


def test_what_is_taken_apart_is_scanned_alike():
    x, stacked, state = values()
    whole = scan_with_state(body, (x, ops.zeros(())), stacked, {"cache": state}, LAYERS)
    layers = unstack(stacked, LAYERS), unstack({"cache": state}, LAYERS)
    apart = scan_with_state(body, (x, ops.zeros(())), *layers, LAYERS)
    np.testing.assert_allclose(np.asarray(apart[0][0]), np.asarray(whole[0][0]), rtol=1e-5)
    for layer in range(LAYERS):
        np.testing.assert_allclose(apart[1].layers[layer]["cache"], whole[1]["cache"][layer], rtol=1e-5)


def test_one_layer_is_scanned_too():
    x, stacked, _ = values()
    first = {name: whole[:1] for name, whole in stacked.items()}
    found, expected = (loop(body, (x, ops.zeros(())), first, {}, 1)[0] for loop in (scan_with_state, unrolled))
    np.testing.assert_allclose(np.asarray(found[0]), np.asarray(expected[0]), rtol=1e-5)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="a loop of TensorFlow's")
@either_way
@pytest.mark.parametrize("of", ["last", "outputs"])
def test_what_no_layer_uses_has_no_gradient(of, xla, monkeypatch):
    """Kernels write gradients into memory that has no values: all of it must be written, whatever a loss looks at."""
    import tensorflow as tf

    use_xla(monkeypatch, xla)

    def layer(index, x, slices, shared):
        x = ops.tanh(x * slices["used"])
        return x, x * slices["used"]

    @tf.function(jit_compile=xla)
    def gradients(x, stacked):
        with tf.GradientTape() as tape:
            tape.watch((x, stacked))
            last, outputs = scan(layer, x, stacked, (), ops.zeros((LAYERS, WIDTH)), LAYERS)
            loss = tf.reduce_sum(outputs if of == "outputs" else last)
        return tape.gradient(loss, stacked, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    weights = tf.constant(np.random.default_rng(0).normal(size=(LAYERS, WIDTH)).astype("float32"))
    stacked = {"unused": weights, "same shape": weights, "used": weights, "numbers": tf.range(LAYERS)}
    found = []
    for _ in range(3):
        spoiled = [tf.fill((LAYERS, WIDTH), np.nan) for _ in range(50)]
        del spoiled
        found.append(gradients(tf.ones(WIDTH), stacked))
    for result in found:
        np.testing.assert_array_equal(result["unused"], np.zeros((LAYERS, WIDTH)))
        np.testing.assert_array_equal(result["same shape"], np.zeros((LAYERS, WIDTH)))
        np.testing.assert_array_equal(result["used"], found[0]["used"])
        assert np.abs(result["used"]).min() > 0
