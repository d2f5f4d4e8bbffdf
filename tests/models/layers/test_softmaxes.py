"""The mixture of softmaxes against the formula written out."""

import keras
import numpy as np
import pytest
from keras import ops

from scalecli import specs
from scalecli.models.compiled import compiled
from scalecli.models.layers import HEADS
from scalecli.models.layers.softmaxes import log_mixture
from tests.xla import either_way, use_xla

SOFTMAXES, ROWS, LENGTH, WIDTH, VOCABULARY = 4, 2, 3, 8, 20


def drawn(scale=1.0):
    """Contexts, log-priors and the kernel."""
    random = np.random.default_rng(0)
    contexts = scale * random.normal(size=(SOFTMAXES, ROWS, LENGTH, WIDTH))
    priors = random.normal(size=(SOFTMAXES, ROWS, LENGTH))
    log_priors = priors - np.log(np.exp(priors).sum(0))
    return tuple(each.astype("float32") for each in (contexts, log_priors, random.normal(size=(WIDTH, VOCABULARY))))


def written_out(contexts, log_priors, kernel):
    """All softmaxes at once."""
    return ops.logsumexp(log_priors[..., None] + ops.log_softmax(ops.matmul(contexts, kernel), axis=-1), axis=0)


def value_and_gradients(function, arguments, xla):
    direction = np.random.default_rng(1).normal(size=(ROWS, LENGTH, VOCABULARY)).astype("float32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=xla)
        def compute(arguments):
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                value = function(*arguments)
                loss = tf.reduce_sum(value * direction)
            return value, tape.gradient(loss, arguments)

        found = compute(tuple(map(tf.constant, arguments)))
    else:
        import jax

        value, pullback = jax.vjp(jax.jit(function), *arguments)
        found = value, pullback(direction)
    return keras.tree.map_structure(np.asarray, found)


@either_way
@pytest.mark.parametrize("scale", [1.0, 100.0])  # logits whose exponentials overflow
def test_values_and_gradients_are_those_of_all_softmaxes_at_once(scale, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    expected, expected_gradients = value_and_gradients(written_out, drawn(scale), xla)
    found, gradients = value_and_gradients(log_mixture, drawn(scale), xla)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-4)
    np.testing.assert_allclose(np.exp(found).sum(-1), 1.0, rtol=1e-4)
    for gradient, right in zip(gradients, expected_gradients, strict=True):
        assert np.abs(right).max() > 0.1
        np.testing.assert_allclose(gradient, right, rtol=1e-3, atol=1e-4 * np.abs(right).max())


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("mixed_bfloat16", 0.1)])
def test_the_head_is_the_papers_formula_in_float32(dtype, tolerance):
    spec = specs.MixtureOfSoftmaxes(VOCABULARY, WIDTH, SOFTMAXES)
    head = HEADS[type(spec)](spec, dtype=dtype)
    random = np.random.default_rng(2)
    for variable in head.owned.values():
        variable.assign(random.normal(size=variable.shape))
    context, prior = (np.asarray(head.owned[name]) for name in ("context", "prior"))
    table, hidden = random.normal(size=(VOCABULARY, WIDTH)), random.normal(size=(ROWS, LENGTH, WIDTH))

    def call(table, hidden):
        return head(head.prepare({"table": table}), hidden)

    found = compiled(head, call)(ops.cast(table, head.compute_dtype), ops.cast(hidden, head.compute_dtype))
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    scaled = hidden * WIDTH**-0.5
    mixture = 0
    normaliser = sum(np.exp(scaled @ prior[k]) for k in range(SOFTMAXES))
    for k in range(SOFTMAXES):
        logits = np.exp(np.tanh(scaled @ context[k]) @ table.T)
        mixture += (np.exp(scaled @ prior[k]) / normaliser)[..., None] * logits / logits.sum(-1, keepdims=True)
    np.testing.assert_allclose(np.asarray(found), np.log(mixture), atol=tolerance)
