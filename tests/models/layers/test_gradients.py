"""Gradients that are written out, to keep less of the forward pass, against those of the formula."""

import keras
import numpy as np
import pytest
from keras import ops

from scalecli.models.dropout import Dropout
from scalecli.models.layers.attention import softmax_attention
from scalecli.models.layers.base import normalized
from scalecli.models.layers.feed_forward import gelu

ROWS, HEADS, QUERIES, KEYS, WIDTH = 2, 4, 5, 7, 8


def drawn(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def value_and_gradients(function, arguments, dtype="float32"):
    """Of `function(*arguments)`, the gradients of a sum of it with random weights."""
    arguments = [ops.cast(each, dtype) for each in arguments]

    def loss_of(*arguments):
        value = ops.cast(function(*arguments), "float32")
        return ops.sum(value * drawn(*value.shape)), value

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(arguments)
            loss, value = loss_of(*arguments)
        gradients = tape.gradient(loss, arguments)
    else:
        import jax

        places = tuple(range(len(arguments)))
        (_, value), gradients = jax.value_and_grad(loss_of, argnums=places, has_aux=True)(*arguments)
    return [np.array(ops.cast(each, "float32")) for each in (value, *gradients)]


def check(function, formula, arguments):
    """In float32 to rounding, and in bfloat16 as near to float32 as the formula in bfloat16 is."""
    right = value_and_gradients(formula, arguments)
    narrow, narrow_formula = (value_and_gradients(each, arguments, "bfloat16") for each in (function, formula))
    for found, expected, rough, rough_formula in zip(
        value_and_gradients(function, arguments), right, narrow, narrow_formula, strict=True
    ):
        largest = np.abs(expected).max()
        assert largest > 0.1
        np.testing.assert_allclose(found, expected, atol=3e-6 * largest)
        assert np.abs(rough - expected).mean() < 1.5 * np.abs(rough_formula - expected).mean() + 1e-3 * largest


@pytest.mark.parametrize("with_bias", [True, False])
@pytest.mark.parametrize(("key_heads", "rate"), [(HEADS, 0.0), (HEADS, 0.3), (1, 0.3)])
def test_softmax_attention(key_heads, rate, with_bias):
    seen = np.random.default_rng(0).random((ROWS, 1, QUERIES, KEYS)) > 0.3
    mask = ops.convert_to_tensor(np.where(seen, 0, -1e9).astype("float32"))
    dropout = Dropout(rate, ops.convert_to_tensor(3, "int32"))

    def attended(queries, keys, values, bias=None):
        bias = None if bias is None else ops.cast(bias, "float32")
        return softmax_attention(queries, keys, values, mask, bias, dropout)

    def formula(queries, keys, values, bias=0.0):
        scores = ops.cast(ops.matmul(queries, ops.transpose(keys, (0, 1, 3, 2))), "float32")
        shares = ops.softmax(scores + mask + ops.cast(bias, "float32"), axis=-1)
        return ops.matmul(dropout(ops.cast(shares, queries.dtype)), values)

    arguments = [drawn(ROWS, HEADS, QUERIES, WIDTH), *2 * [drawn(ROWS, key_heads, KEYS, WIDTH)]]
    check(attended, formula, [*arguments, drawn(1, HEADS, QUERIES, KEYS)] if with_bias else arguments)


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("weights", [1, 2])  # a scale alone, or a bias with it
def test_norms(weights, padded):
    real = ops.convert_to_tensor((drawn(ROWS, QUERIES, 1) > -0.5).astype("float32")) if padded else None

    def wide(function):
        return lambda x, *weights: function(x, *(ops.cast(each, "float32") for each in weights))

    def formula(x, scale, *bias):
        wide = ops.cast(x, "float32")
        wide = wide - ops.mean(wide, axis=-1, keepdims=True) if bias else wide
        normed = wide / ops.sqrt(ops.mean(ops.square(wide), axis=-1, keepdims=True) + 1e-6) * scale
        normed = normed + bias[0] if bias else normed
        return ops.cast(normed if real is None else normed * real, x.dtype)

    arguments = [drawn(ROWS, QUERIES, WIDTH) + 0.5, *(drawn(WIDTH) + number for number in range(weights))]
    check(wide(lambda *each: normalized(*each, real=real)), wide(formula), arguments)


def test_gelu():
    check(gelu, lambda x: ops.gelu(x, approximate=True), [3 * drawn(ROWS, QUERIES, 100)])
