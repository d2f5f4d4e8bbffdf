"""Losses in chunks against those of all logits at once: the same values and gradients, whatever the head."""

import keras
import numpy as np
import pytest

from scalecli import specs
from scalecli.models import losses
from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder
from scalecli.models.layers import HEADS, Embedding
from tests import oracle
from tests.xla import either_way, use_xla

ROWS, LENGTH, WIDTH, VOCABULARY = 3, 7, 8, 20
HEAD_SPECS = {
    "tied": specs.Logits(VOCABULARY, WIDTH, tied=True, scaled=True),
    "factorised": specs.Logits(VOCABULARY, WIDTH, tied=True, scaled=True, embedding_size=4),
    "own": specs.Logits(VOCABULARY, WIDTH, tied=False, scaled=False),
    "mixture": specs.MixtureOfSoftmaxes(VOCABULARY, WIDTH, softmaxes=2),
}


def drawn(spec, dtype):
    """A head, what it prepares, and hidden states."""
    policy = "mixed_bfloat16" if dtype == "bfloat16" else dtype
    keras.utils.set_random_seed(0)
    head = HEADS[type(spec)](spec, dtype=policy)
    embedding = Embedding(specs.Embedding(VOCABULARY, WIDTH, getattr(spec, "embedding_size", None)), dtype=policy)
    hidden = np.random.default_rng(0).normal(size=(ROWS, LENGTH, WIDTH))
    return head, head.prepare(embedding.weights_for_compute()), keras.ops.convert_to_tensor(hidden, dtype)


def values_and_gradients(spec, dtype, xla):
    """Both losses [ROWS, LENGTH], and the gradients of a sum of them for the head's tensors and the hidden states."""
    head, prepared, hidden = drawn(spec, dtype)
    random = np.random.default_rng(1)
    targets = random.integers(0, VOCABULARY, (ROWS, LENGTH)).astype("int32")
    direction = random.normal(size=(2, ROWS, LENGTH)).astype("float32")

    def loss_of(prepared, hidden):
        found = losses.chunked_cross_entropy(head, prepared, hidden, targets, VOCABULARY)
        return sum(keras.ops.sum(each * along) for each, along in zip(found, direction, strict=True)), found

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=xla, autograph=False)
        def compute(*arguments):
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                loss, found = loss_of(*arguments)
            return found, tape.gradient(loss, arguments)

        found, gradients = compute(prepared, hidden)
    else:
        import jax

        (_, found), gradients = jax.jit(jax.value_and_grad(loss_of, argnums=(0, 1), has_aux=True))(prepared, hidden)
    wide = keras.tree.map_structure(lambda each: np.array(keras.ops.cast(each, "float32")), gradients)
    return np.array(found), {**wide[0], "hidden": wide[1]}


@either_way
@pytest.mark.parametrize("name", HEAD_SPECS)
def test_chunks_have_the_losses_and_gradients_of_the_whole(name, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    expected, expected_gradients = values_and_gradients(HEAD_SPECS[name], "float32", xla)
    monkeypatch.setattr(losses, "MOST_LOGITS", 3 * ROWS * VOCABULARY)  # chunks of 3, 3 and 1 positions
    found, gradients = values_and_gradients(HEAD_SPECS[name], "float32", xla)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.abs(expected).min(axis=(1, 2)).max() > 0.1
    for weight, gradient in expected_gradients.items():
        largest = np.abs(gradient).max()
        assert largest > 0.01, weight
        np.testing.assert_allclose(gradients[weight], gradient, atol=1e-5 * largest, err_msg=weight)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="XLA's formula is differentiated by the backend")
def test_cross_entropy_by_kernels_is_that_of_float64():
    """And its gradients; some shares are so small that float32 has no number for them."""
    import tensorflow as tf

    random = np.random.default_rng(0)
    logits = (60 * random.normal(size=(ROWS, LENGTH, VOCABULARY))).astype("float32")
    targets = random.integers(0, VOCABULARY, (ROWS, LENGTH)).astype("int32")
    d_losses, d_normalizers = random.normal(size=(2, ROWS, LENGTH)).astype("float32")
    highest = logits.astype(float).max(axis=-1, keepdims=True)
    normalizers = np.log(np.exp(logits - highest).sum(axis=-1)) + highest[..., 0]
    shares, one_hot = np.exp(logits - normalizers[..., None]), np.eye(VOCABULARY)[targets]
    assert shares.min() < 1e-45

    x = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(x)
        value = losses._cross_entropy_by_kernels(x, targets)
    gradient = tape.gradient(value, x, [tf.constant(d_losses), tf.constant(d_normalizers)])
    np.testing.assert_allclose(
        value, [normalizers - (logits * one_hot).sum(axis=-1), normalizers], rtol=1e-5, atol=1e-4
    )
    expected = shares * (d_losses + d_normalizers)[..., None] - one_hot * d_losses[..., None]
    np.testing.assert_allclose(gradient, expected, atol=1e-5)


@pytest.mark.parametrize("name", HEAD_SPECS)
def test_chunks_add_up_in_float32(name, monkeypatch):
    """Gradients of bfloat16 weights over many chunks are no further from float32's than those of a single one."""
    _, right = values_and_gradients(HEAD_SPECS[name], "float32", False)
    _, at_once = values_and_gradients(HEAD_SPECS[name], "bfloat16", False)
    monkeypatch.setattr(losses, "MOST_LOGITS", 1)  # a position at a time
    _, gradients = values_and_gradients(HEAD_SPECS[name], "bfloat16", False)
    for weight, gradient in right.items():
        error, error_at_once = (np.abs(each[weight] - gradient).mean() for each in (gradients, at_once))
        assert 0 < error < 1.5 * error_at_once < 0.03 * np.abs(gradient).mean(), weight


def test_packed_examples_have_the_losses_of_their_logits(monkeypatch):
    keras.utils.set_random_seed(2)
    model = EncoderDecoder(oracle.small_spec("transformer", layers=1))
    inputs, targets = np.random.default_rng(0).integers(2, 128, (2, ROWS, LENGTH)).astype("int32")
    ends = np.array([[3, 3], [7, 7], [1, 4]])  # where a row's first example and its second end
    segments = np.select([np.arange(LENGTH) < end[:, None] for end in ends.T], [1, 2]).astype("int32")
    batch = {
        "inputs": inputs * (segments > 0),
        "targets": targets * (segments > 0),
        "inputs_segments": segments,
        "targets_segments": segments,
    }

    def both(batch):
        return model.losses(batch)[:2], losses.cross_entropy(model(batch), batch["targets"])

    monkeypatch.setattr(losses, "MOST_LOGITS", 2 * ROWS * 128)
    found, expected = map(np.array, compiled(model, both)(batch))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
