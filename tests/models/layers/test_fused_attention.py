"""The GPU's attention kernels, interpreted on a CPU, against the formula; and that they lower to Triton."""

import functools

import keras
import numpy as np
import pytest

jax = pytest.importorskip("jax")

from jax import numpy as jnp  # noqa: E402

from scalecli.architectures import build_spec  # noqa: E402
from scalecli.models import attention_kernels  # noqa: E402
from scalecli.models.blocks import stack  # noqa: E402
from scalecli.models.layers import attention, fused_attention  # noqa: E402
from scalecli.models.layers.blockwise_attention import bias_tiles  # noqa: E402
from scalecli.shape import parse_name  # noqa: E402

ROWS, HEADS = 2, 2
CASES = [  # queries, keys, key heads, d_kv, biased, causal
    (128, 128, HEADS, 16, True, False),
    (114, 114, HEADS, 16, True, True),
    (70, 150, HEADS, 32, True, False),
    (150, 70, 1, 16, True, False),
    (50, 200, 1, 16, False, False),
]


def problem(queries, keys, key_heads, d_kv, biased, dtype="float32"):
    """Queries, keys, values, bias by distance, segments, and the gradient of the output."""
    random = np.random.default_rng(0)
    q, d_output = (jnp.array(random.normal(size=(ROWS, queries, HEADS, d_kv)), dtype) for _ in range(2))
    k, v = (jnp.array(random.normal(size=(ROWS, keys, key_heads, d_kv)), dtype) for _ in range(2))
    bias = jnp.array(random.normal(size=(HEADS, queries + keys - 1)), "float32") if biased else None
    segments = [jnp.array(np.sort(random.integers(1, 4, (ROWS, length))), "int32") for length in (queries, keys)]
    if queries == keys:
        segments[1] = segments[0]
    return q / d_kv**0.5, k, v, bias, segments, d_output


def formula(q, k, v, bias, segments, causal):
    q, k, v = (x.astype("float32") for x in (q, k, v))
    k, v = (jnp.broadcast_to(x, (*x.shape[:2], HEADS, x.shape[3])) for x in (k, v))
    scores = jnp.einsum("bqhd,bkhd->bhqk", q, k)
    queries, keys = scores.shape[2:]
    if bias is not None:
        scores += bias[:, np.arange(keys) - np.arange(queries)[:, None] + queries - 1]
    seen = segments[0][:, :, None] == segments[1][:, None, :]
    seen &= np.tril(np.ones((queries, keys), bool)) if causal else True
    shares = jax.nn.softmax(jnp.where(seen[:, None], scores, -1e9))
    return jnp.einsum("bhqk,bkhd->bqhd", shares, v)


def tiles_of(bias, queries, keys):
    return bias_tiles(bias, queries, keys, fused_attention.BLOCK, jnp)


def fused(q, k, v, bias, segments, causal, interpret=True):
    tiles = None if bias is None else tiles_of(bias, q.shape[1], k.shape[1])
    return fused_attention.fused_attention(q, k, v, tiles, *segments, causal, interpret)


def value_and_gradients(function, q, k, v, bias, segments, d_output, causal):
    def total(q, k, v, bias):
        output = function(q, k, v, bias, segments, causal)
        return jnp.sum(output.astype("float32") * d_output.astype("float32")), output

    places = (0, 1, 2) if bias is None else (0, 1, 2, 3)
    gradients, output = jax.jit(jax.grad(total, places, has_aux=True))(q, k, v, bias)
    return [np.asarray(x, "float32") for x in (output, *gradients)]


def distance(found, expected):
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.fixture(params=[True, False], ids=["scores written", "scores computed anew"])
def written(request, monkeypatch):
    """Whether the backward pass writes out the gradients of the scores."""
    monkeypatch.setattr(attention_kernels, "MOST_WRITTEN_OUT", 1024 if request.param else 0)
    return request.param


@pytest.mark.parametrize(("queries", "keys", "key_heads", "d_kv", "biased", "causal"), CASES)
def test_float32(queries, keys, key_heads, d_kv, biased, causal, written):
    arguments = problem(queries, keys, key_heads, d_kv, biased)
    found, expected = (value_and_gradients(function, *arguments, causal) for function in (fused, formula))
    assert len(found) == 4 + biased
    assert np.max([distance(*pair) for pair in zip(found, expected, strict=True)]) < 2e-6


def test_bfloat16_to_rounding(written):
    arguments = problem(114, 114, HEADS, 16, True, "bfloat16")
    found, expected = (value_and_gradients(function, *arguments, True) for function in (fused, formula))
    assert 1e-4 < np.max([distance(*pair) for pair in zip(found, expected, strict=True)]) < 1e-2


def test_a_query_without_keys_of_its_segment_is_finite():
    q, k, v, bias, segments, d_output = problem(10, 10, HEADS, 16, True)
    segments = [segments[0].at[0].set(9), segments[1]]
    assert all(np.isfinite(x).all() for x in value_and_gradients(fused, q, k, v, bias, segments, d_output, False))


def test_memory_is_linear_in_the_length():
    sizes = {length: tiles_of(jnp.zeros((1, 2 * length - 1)), length, length).size for length in (512, 1024)}
    assert sizes[1024] < 2.1 * sizes[512]


@pytest.mark.parametrize(("queries", "keys", "key_heads", "d_kv", "biased", "causal"), CASES)
def test_kernels_lower_to_triton(queries, keys, key_heads, d_kv, biased, causal, written):
    q, k, v, bias, segments, d_output = problem(queries, keys, key_heads, d_kv, biased, "bfloat16")

    def total(q, k, v, bias):
        return jnp.sum((fused(q, k, v, bias, segments, causal, False) * d_output).astype("float32"))

    gradients = jax.jit(jax.grad(total, (0, 1, 2) if bias is None else (0, 1, 2, 3)))
    checks = [jax.export.DisabledSafetyCheck.custom_call("__gpu$xla.gpu.triton")]
    exported = jax.export.export(gradients, platforms=["cuda"], disabled_checks=checks)(q, k, v, bias)
    end = "_from_d_scores" if written else ""
    kernels = ["forward", "d_keys", f"d_queries{end}", *([f"d_bias{end}"] if biased else [])]
    text = exported.mlir_module()
    assert [name for name in kernels if f"attention_{name}_kernel" not in text] == []


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="a model on JAX")
@pytest.mark.parametrize("name", ["tiny-nl1-dm32-ff32-kv16-nh2", "tiny-nl1-dm32-ff32-kv16-nh2-sh", "funnel"])
def test_a_model_computes_the_same(monkeypatch, name):
    """Losses and gradients of packed, padded rows with dropout, with the kernels and without."""
    from scalecli.models.encoder_decoder import EncoderDecoder

    architecture = "funnel" if name == "funnel" else "transformer"
    name = "tiny-nl3-dm32-ff32-kv16-nh2" if name == "funnel" else name
    keras.utils.set_random_seed(0)
    model = EncoderDecoder(build_spec(architecture, parse_name(name, architecture)), "float32", 0.3)
    random = np.random.default_rng(0)
    batch = {"inputs": random.integers(2, 900, (2, 80)), "targets": random.integers(2, 900, (2, 37))}
    batch["inputs"][1, 60:], batch["targets"][1, 20:] = 0, 0
    if architecture == "transformer":  # rows of a funnel are not packed
        batch |= {
            f"{side}_segments": (batch[side] > 0) * (1 + (np.arange(x.shape[1]) > 15)) for side, x in [*batch.items()]
        }
    batch = {side: x.astype("int32") for side, x in batch.items()}

    def loss(values):
        with keras.StatelessScope(state_mapping=list(zip(model.trainable_variables, values, strict=True))):
            return jnp.sum(model.losses(batch, jnp.int32(5)).cross_entropy * (batch["targets"] > 0))

    values = [variable.value for variable in model.trainable_variables]
    expected, expected_gradients = jax.jit(jax.value_and_grad(loss))(values)
    for module in (attention, stack):
        monkeypatch.setattr(module, "fuses_attention", lambda dtype: True)
    calls = []
    kernels = functools.partial(fused_attention.fused_attention, interpret=True)
    monkeypatch.setattr(fused_attention, "fused_attention", lambda *x: calls.append(len(x)) or kernels(*x))
    found, gradients = jax.jit(jax.value_and_grad(lambda values: loss(values)))(values)
    assert calls
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for gradient, right in zip(gradients, expected_gradients, strict=True):
        assert distance(np.asarray(gradient), np.asarray(right)) < 1e-4
