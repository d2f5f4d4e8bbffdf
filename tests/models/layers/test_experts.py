"""The mixture of experts: its routing, capacity, reports and gradients, against a loop over tokens."""

import keras
import numpy as np
import pytest

from scalecli import specs
from scalecli.models.compiled import compiled
from scalecli.models.dropout import Dropout
from scalecli.models.layers import LAYERS, Context
from scalecli.models.layers.experts import group_size
from tests.xla import either_way, use_xla

WIDTH, HIDDEN, EXPERTS = 6, 10, 3
ROWS, LENGTH = 2, 9
REAL = np.ones((ROWS, LENGTH, 1), "float32")
REAL[0, 5:] = 0  # padding in the middle of a group


def spec_with(**options):
    return specs.MixtureOfExperts(WIDTH, HIDDEN, EXPERTS, **{"jitter": 0.0, "least_capacity": 2, **options})


def drawn(seed=0):
    """Weights, and inputs that are zero at padding, as norms leave them; the first expert is the favourite."""
    random = np.random.default_rng(seed)
    weights = {name: random.normal(size=each.shape).astype("float32") for name, each in spec_with().weights().items()}
    x = random.normal(size=(ROWS, LENGTH, WIDTH)).astype("float32")
    x[..., 0], weights["router"][0, 0] = 1.0, 1.5
    return weights, x * REAL


def by_hand(weights, x, real, group, capacity):
    """Output [tokens, d_model], the experts chosen, and which tokens were taken: one token after another."""
    flat, real = x.reshape(-1, WIDTH), real.reshape(-1) > 0
    output, taken = np.zeros_like(flat), np.zeros(len(flat), bool)
    scores = np.exp(flat @ weights["router"])
    probabilities = scores / scores.sum(-1, keepdims=True)
    chosen = probabilities.argmax(-1)
    for start in range(0, len(flat), group):
        room = dict.fromkeys(range(EXPERTS), capacity)
        for token in range(start, start + group):
            expert = chosen[token]
            if real[token] and room[expert]:
                room[expert] -= 1
                hidden = np.maximum(flat[token] @ weights["input"][expert], 0)
                output[token] = probabilities[token, expert] * (hidden @ weights["output"][expert])
                taken[token] = True
    return output, probabilities, chosen, taken


def layer_of(spec):
    return LAYERS[type(spec)](spec)


def run(layer, weights, x, seed=None, real=REAL):
    context = Context(real=keras.ops.convert_to_tensor(real))
    return layer.run(weights, keras.ops.convert_to_tensor(x), context, Dropout(0.0, seed))


@either_way
@pytest.mark.parametrize(("most", "seed", "group", "capacity"), [(18, None, 18, 12), (18, 1, 18, 7), (8, 1, 6, 2)])
def test_outputs_and_reports_are_those_of_a_loop_over_tokens(most, seed, group, capacity, xla, monkeypatch):
    use_xla(monkeypatch, xla)
    spec = spec_with(group=most)
    assert spec.capacity(group, seed is not None) == capacity
    weights, x = drawn()
    layer = layer_of(spec)
    found, reports = compiled(layer, lambda weights, x: run(layer, weights, x, seed))(weights, x)
    output, probabilities, chosen, taken = by_hand(weights, x, REAL, group, capacity)
    np.testing.assert_allclose(np.asarray(found).reshape(-1, WIDTH), output, atol=1e-5)
    real = REAL.reshape(-1) > 0
    overflow = (real & ~taken).sum() / real.sum()
    assert (overflow > 0) == (seed is not None)  # evaluation has room for all of these
    assert float(reports["overflow"]) == pytest.approx(overflow, abs=1e-6)
    use = np.bincount(chosen[real], minlength=EXPERTS) / real.sum()
    np.testing.assert_allclose(np.asarray(reports["expert_use"]), use, rtol=1e-6)
    shares = np.eye(EXPERTS)[chosen].reshape(-1, group, EXPERTS).mean(1)
    expected = 0.01 * EXPERTS * (shares * probabilities.reshape(-1, group, EXPERTS).mean(1)).sum(-1).mean()
    assert float(reports["auxiliary_loss"]) == pytest.approx(expected, rel=1e-5)


def test_one_token_at_a_time_is_never_left_out():
    spec = spec_with()
    weights, x = drawn()
    weights["router"][:] = 0
    weights["router"][0, 1] = 1.0  # all go to one expert
    tokens = np.concatenate([x[1], x[1]])[:, None]  # [18, 1, d_model]
    found, state = layer_of(spec).step(weights, keras.ops.convert_to_tensor(tokens), {}, {}, Context())
    output, _, _, taken = by_hand(weights, tokens, np.ones(len(tokens)), len(tokens), len(tokens))
    assert taken.all()
    np.testing.assert_allclose(np.asarray(found)[:, 0], output, atol=1e-5)
    assert state == {}


def test_noise_is_in_training_only_and_reaches_the_router_alone():
    weights, x = drawn()
    plain, noisy = layer_of(spec_with()), layer_of(spec_with(jitter=0.01))
    outputs = [np.asarray(run(noisy, weights, x, seed)[0]) for seed in (None, 1, 1, 2)]
    np.testing.assert_array_equal(outputs[0], np.asarray(run(plain, weights, x)[0]))
    np.testing.assert_array_equal(outputs[1], outputs[2])
    assert np.abs(outputs[1] - outputs[3]).max() > 1e-4
    # Where a token goes to the same expert, its output is only scaled by another probability.
    still = np.asarray(run(plain, weights, x, 1)[0]).reshape(-1, WIDTH)
    there = np.abs(still).max(-1) > 0.1
    ratio = outputs[1].reshape(-1, WIDTH)[there] / still[there]
    np.testing.assert_allclose(ratio, np.broadcast_to(ratio[:, :1], ratio.shape), rtol=1e-3)
    assert 1e-4 < np.abs(ratio - 1).max() < 0.05


def test_padding_takes_nobodys_place():
    """In a batch of nothing but padding and one token, at the end, that token is taken, and nothing is not a number."""
    weights, x = drawn()
    real = np.zeros_like(REAL)
    for count in (0, 1):
        real[-1, -count:] = count
        output, reports = run(layer_of(spec_with()), weights, x * real, 1, real)
        assert np.isfinite(np.asarray(output)).all()
        assert all(np.isfinite(np.asarray(report)).all() for report in reports.values())
        assert float(reports["overflow"]) == 0
        assert float(np.asarray(reports["expert_use"]).sum()) == count
        assert (np.abs(np.asarray(output)).sum(-1) > 0).sum() == count


def test_gradients_are_those_of_finite_differences_and_zero_for_tokens_left_out():
    layer, (weights, x) = layer_of(spec_with()), drawn()
    taken = by_hand(weights, x, REAL, 18, 7)[3]
    direction = np.random.default_rng(1).normal(size=x.shape).astype("float32")

    def loss(weights, x):
        return keras.ops.sum(run(layer, weights, x, 1)[0] * direction)

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        inputs = tf.nest.map_structure(tf.constant, (weights, x))
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(*inputs)
        gradients = tape.gradient(value, inputs)
    else:
        import jax

        gradients = jax.grad(loss, argnums=(0, 1))(weights, x)
    of_weights, of_x = keras.tree.map_structure(np.asarray, gradients)
    left_out = ~taken.reshape(ROWS, LENGTH)
    assert left_out[REAL[..., 0] > 0].any()
    assert (of_x[left_out] == 0).all()
    assert (np.abs(of_x[~left_out]).max(-1) > 1e-3).all()
    for name, gradient in of_weights.items():
        step = np.random.default_rng(2).normal(size=gradient.shape).astype("float32") * 1e-3
        ends = [float(loss({**weights, name: weights[name] + sign * step}, x)) for sign in (1, -1)]
        assert (gradient * step).sum() == pytest.approx((ends[0] - ends[1]) / 2, rel=0.02, abs=1e-4), name


@pytest.mark.parametrize(
    ("tokens", "most", "expected"), [(32, 1024, 32), (4096, 1024, 1024), (1026, 1024, 513), (13, 4, 1)]
)
def test_groups_are_equal_and_as_large_as_can_be(tokens, most, expected):
    assert group_size(tokens, most) == expected


def test_the_router_stays_float32():
    layer = LAYERS[specs.MixtureOfExperts](spec_with(), dtype="mixed_bfloat16")
    dtypes = {name: keras.backend.standardize_dtype(each.dtype) for name, each in layer.weights_for_compute().items()}
    assert dtypes == {"router": "float32", "input": "bfloat16", "output": "bfloat16"}
