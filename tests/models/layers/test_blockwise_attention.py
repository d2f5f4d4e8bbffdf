"""Attention by blocks of keys against attention that writes its scores out: outputs and gradients, and in a model."""

import keras
import numpy as np
import pytest
from keras import ops

from scalecli import specs
from scalecli.architectures import build_spec
from scalecli.models import encoder_decoder
from scalecli.models.blocks import stack
from scalecli.models.dropout import Dropout
from scalecli.models.encoder_decoder import EncoderDecoder
from scalecli.models.layers import PositionBias, attention, blockwise_attention
from scalecli.models.layers.blockwise_attention import bias_tiles, block_size
from scalecli.shape import parse_name
from tests.xla import use_xla

ROWS, HEADS, WIDTH = 2, 2, 8
CASES = [  # queries, keys, key heads, biased, causal
    (40, 40, HEADS, True, False),
    (40, 40, 1, True, True),
    (20, 50, 1, False, False),
]


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of at most 16, so that there are several, and the last one is not full."""
    monkeypatch.setattr(blockwise_attention, "_LARGEST_BLOCK", 16)
    monkeypatch.setattr(blockwise_attention, "_LANES", 4)


def drawn(*shape):
    return np.random.default_rng(sum(shape)).normal(size=shape).astype("float32")


def value_and_gradients(function, arguments, dtype):
    arguments = [ops.cast(x, dtype if x.ndim == 4 else "float32") for x in arguments]

    def loss_of(*arguments):
        value = ops.cast(function(*arguments), "float32")
        return ops.sum(value * drawn(*value.shape)), value

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        @tf.function(jit_compile=True, autograph=False)
        def compute(*arguments):
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                loss, value = loss_of(*arguments)
            return value, *tape.gradient(loss, arguments)

        results = compute(*arguments)
    else:
        import jax

        both = jax.jit(jax.value_and_grad(loss_of, argnums=tuple(range(len(arguments))), has_aux=True))
        (_, value), gradients = both(*arguments)
        results = value, *gradients
    return [np.array(ops.cast(x, "float32")) for x in results]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("queries", "keys", "key_heads", "biased", "causal"), CASES)
def test_outputs_and_gradients(small_blocks, monkeypatch, queries, keys, key_heads, biased, causal, dtype):
    use_xla(monkeypatch, True)
    random = np.random.default_rng(1)
    segments = [np.sort(random.integers(1, 3, (ROWS, length))).astype("int32") for length in (queries, keys)]
    segments[1] = segments[0] if queries == keys else segments[1]
    segments[1][:, 0] = segments[0][:, 0] = 1
    seen = segments[0][:, :, None] == segments[1][:, None, :]
    seen = np.tril(seen) if causal else seen
    mask = np.where(seen, 0, -1e9).astype("float32")[:, None]
    distances = np.arange(keys) - np.arange(queries)[:, None] + queries - 1

    def blockwise(q, k, v, *bias):
        size = block_size(keys)
        tiles = bias_tiles(bias[0], queries, keys, size) if bias else None
        return blockwise_attention.blockwise_attention(q, k, v, tiles, *map(ops.convert_to_tensor, segments), causal)

    def written_out(q, k, v, *bias):
        bias = ops.take(bias[0], distances, axis=1)[None] if bias else None
        return attention.softmax_attention(q, k, v, ops.convert_to_tensor(mask), bias, Dropout(0.0))

    arguments = [drawn(ROWS, HEADS, queries, WIDTH), *2 * [drawn(ROWS, key_heads, keys, WIDTH)]]
    arguments += [drawn(HEADS, queries + keys - 1)] if biased else []
    right = value_and_gradients(written_out, arguments, "float32")
    found, rough = (value_and_gradients(function, arguments, dtype) for function in (blockwise, written_out))
    assert len(found) == 4 + biased
    some = seen.any(axis=2)  # queries that see anything: the others' output means nothing
    assert some.all()
    for ours, expected, rounded in zip(found, right, rough, strict=True):
        largest = np.abs(expected).max()
        assert largest > 0.1
        if dtype == "float32":
            np.testing.assert_allclose(ours, expected, atol=1e-5 * largest)
        else:
            # What is summed over blocks is rounded once more for each of them.
            assert np.abs(ours - expected).mean() < 2 * np.abs(rounded - expected).mean() + 1e-3 * largest


@pytest.mark.parametrize("name", ["tiny-nl1-dm32-ff32-kv16-nh2", "tiny-nl1-dm32-ff32-kv16-nh2-sh", "funnel"])
def test_a_model_computes_the_same(small_blocks, monkeypatch, name):
    """Losses and gradients of padded rows with dropout; those of the transformer are packed."""
    use_xla(monkeypatch, True)
    architecture = "funnel" if name == "funnel" else "transformer"
    name = "tiny-nl3-dm32-ff32-kv16-nh2" if name == "funnel" else name
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(build_spec(architecture, parse_name(name, architecture)), dropout_rate=0.3)
    random = np.random.default_rng(0)
    batch = {"inputs": random.integers(2, 900, (2, 80)), "targets": random.integers(2, 900, (2, 37))}
    batch["inputs"][1, 60:], batch["targets"][1, 20:] = 0, 0
    if architecture == "transformer":  # rows of a funnel are not packed
        batch |= {
            f"{side}_segments": (batch[side] > 0) * (1 + (np.arange(x.shape[1]) > 15)) for side, x in [*batch.items()]
        }
    batch = {side: ops.convert_to_tensor(x.astype("int32")) for side, x in batch.items()}

    def loss_and_gradients():
        seed = ops.convert_to_tensor(5, "int32")
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            @tf.function(jit_compile=True, autograph=False)
            def compute():
                with tf.GradientTape() as tape:
                    loss = ops.sum(model.losses(batch, seed).cross_entropy * model.target_mask(batch))
                values = [variable.value for variable in model.trainable_variables]
                return loss, [tf.convert_to_tensor(x) for x in tape.gradient(loss, values)]

            return compute()
        import jax

        def loss(values):
            with keras.StatelessScope(state_mapping=list(zip(model.trainable_variables, values, strict=True))):
                return ops.sum(model.losses(batch, seed).cross_entropy * model.target_mask(batch))

        return jax.jit(jax.value_and_grad(loss))([variable.value for variable in model.trainable_variables])

    expected, expected_gradients = loss_and_gradients()
    for module in (encoder_decoder, stack):
        monkeypatch.setattr(module, "attends_blockwise", lambda dtype, keys: True)
    calls = []
    computed = blockwise_attention.blockwise_attention
    monkeypatch.setattr(attention, "blockwise_attention", lambda *x: calls.append(len(x)) or computed(*x))
    found, gradients = loss_and_gradients()
    assert calls
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for gradient, right in zip(gradients, expected_gradients, strict=True):
        gradient, right = np.asarray(gradient), np.asarray(right)
        assert np.linalg.norm(gradient - right) < 1e-4 * np.linalg.norm(right)


def test_memory_is_linear_in_the_length():
    layer = PositionBias(specs.PositionBias(1, True, 1.0))
    sizes = {length: layer.tiles(length, length, block_size(length)).shape for length in (1024, 4096)}
    assert np.prod(sizes[4096]) < 5.1 * np.prod(sizes[1024])
