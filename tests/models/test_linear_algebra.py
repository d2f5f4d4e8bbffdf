"""Products and sums against NumPy, compiled by XLA and by kernels."""

import keras
import numpy as np
import pytest
from keras import ops

from scalecli.models.linear_algebra import dot_products, mean_along, mean_square, product, projected
from tests.xla import either_way, use_xla

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA has one way")


def drawn(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


@either_way
@pytest.mark.parametrize("transpose_a", [False, True])
@pytest.mark.parametrize("transpose_b", [False, True])
@pytest.mark.parametrize("shape", [(2, 3, 5), (3, 5), (8, 5)], ids=str)
def test_products_of_transposed_matrices(shape, transpose_a, transpose_b, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    a, b = drawn(*shape), drawn(*shape[:-2], 5, 4)
    given = (a.swapaxes(-1, -2) if transpose_a else a, b.swapaxes(-1, -2) if transpose_b else b)
    np.testing.assert_allclose(product(*given, transpose_a, transpose_b), a @ b, rtol=1e-5, atol=1e-6)


@either_way
@pytest.mark.parametrize("shape", [(2, 5), (4, 5), (4, 16, 5), (65, 5)], ids=str)
def test_products_with_few_and_many_rows(shape, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    x, rows = drawn(*shape), drawn(70, 5)
    np.testing.assert_allclose(dot_products(ops.convert_to_tensor(x), rows), x @ rows.T, rtol=1e-5, atol=1e-6)


@either_way
@pytest.mark.parametrize(
    ("rows", "width", "new_width"), [(4, 4, 6), (256, 4, 6), (256, 6, 4), (130, 90, 100), (130, 100, 90)]
)
def test_projections_and_their_gradients(rows, width, new_width, xla, monkeypatch):
    import tensorflow as tf

    use_xla(monkeypatch, xla)
    x, weight, upstream = drawn(2, rows // 2, width), drawn(width, new_width), drawn(2, rows // 2, new_width)
    with tf.GradientTape() as tape:
        tensors = (tf.constant(x), tf.constant(weight))
        tape.watch(tensors)
        output = projected(*tensors)
    d_x, d_weight = tape.gradient(output, tensors, tf.constant(upstream))
    np.testing.assert_allclose(output, x @ weight, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(d_x, upstream @ weight.T, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(d_weight, np.einsum("blk,bln->kn", x, upstream), rtol=1e-5, atol=1e-4)


@either_way
@pytest.mark.parametrize("axes", [(2,), (1, 2), (-1,)])
def test_means_of_squares_are_exact_for_long_rows(axes, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    x = drawn(2, 300, 3000) + 1
    expected = np.mean(np.square(x.astype("float64")), axis=axes, keepdims=True)
    np.testing.assert_allclose(mean_square(ops.convert_to_tensor(x), axes), expected, rtol=1e-5)


@either_way
def test_a_scalars_mean_square_is_its_square(xla, monkeypatch):
    use_xla(monkeypatch, xla)
    np.testing.assert_allclose(mean_square(ops.convert_to_tensor([2.0, 3.0]), ()), [4.0, 9.0])


@either_way
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_means_along_an_axis(axis, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    x = drawn(3, 4, 5)
    np.testing.assert_allclose(mean_along(ops.convert_to_tensor(x), axis), x.mean(axis), rtol=1e-5, atol=1e-6)
