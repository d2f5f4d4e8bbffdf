"""How passes over the same layers are put together, against loops in NumPy."""

import numpy as np
import pytest
from keras import ops

from scalecli import specs
from scalecli.models.blocks.recurrence import RECURRENCES, TransformGates
from scalecli.models.layers import NORMS

BATCH, LENGTH, WIDTH, STEPS = 2, 5, 4, 3


def drawn(layer, seed=0):
    """The layer's weights as NumPy arrays, none of them symmetric."""
    random = np.random.default_rng(seed)
    for variable in layer.owned.values():
        variable.assign(random.normal(scale=0.8, size=variable.shape).astype("float32"))
    return {name: np.array(variable) for name, variable in layer.owned.items()}


def values():
    random = np.random.default_rng(1)
    x = random.normal(size=(BATCH, LENGTH, WIDTH)).astype("float32")
    return x, random.normal(size=(WIDTH, WIDTH)).astype("float32")


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def norm(x):
    return x / 2 - 0.1


def run(kind, bias=None):
    """Output, reports of all but the last position, and the weights; each pass sees and reports its number."""
    layer = RECURRENCES[kind](specs.Recurrence(WIDTH, STEPS, kind, epsilon=0.1), name="recurrence")
    weights = drawn(layer)
    if bias is not None:
        layer.owned["halting_bias"].assign([bias])
        weights["halting_bias"] = np.array([bias], "float32")
    x, kernel = values()
    passes = layer.spec.passes

    def one_pass(index, x):
        return ops.tanh(ops.matmul(x, kernel) + ops.cast(index, "float32") / 9), ops.cast(index, "float32")

    carry, numbers = layer.run_passes(one_pass, ops.convert_to_tensor(x), ops.zeros((passes,)), norm)
    real = np.ones((BATCH, LENGTH, 1), "float32")
    real[:, -1] = 0
    np.testing.assert_array_equal(numbers, np.arange(passes))
    return np.array(layer.output(carry)), layer.reports(carry, ops.convert_to_tensor(real)), weights


def transformed(x, index):
    return np.tanh(x @ values()[1] + index / 9)


def test_basic_passes_follow_each_other():
    expected = values()[0]
    for index in range(STEPS):
        expected = transformed(expected, index)
    output, reports, _ = run("basic")
    np.testing.assert_allclose(output, expected, atol=1e-5)
    assert reports == {}


def test_each_highway_pass_has_a_gate_of_its_own():
    output, _, weights = run("highway")
    inputs = state = values()[0]
    for index in range(STEPS):
        new = transformed(state, index)
        seen = np.concatenate([norm(state), norm(new), norm(inputs)], axis=-1)
        gate = sigmoid(seen @ weights["gate"][index] + weights["gate_bias"][index])
        state = gate * new + (1 - gate) * state
    np.testing.assert_allclose(output, state, atol=1e-5)


def one_position(x, weights):
    """Output, passes and remainder of one position [width] (Graves 2016, section 2.1)."""
    state, output, total = x, np.zeros(WIDTH), 0.0
    for index in range(STEPS + 1):
        probability = sigmoid(state @ weights["halting"] + weights["halting_bias"])[0]
        state = transformed(state, index)
        remainder = 1 - total
        halts = total + probability > 0.9
        share = remainder if halts else probability
        output = share * state + (1 - share) * output
        total += share
        if halts:
            break
    return output, index + 1, remainder


@pytest.mark.parametrize("bias, expected_passes", [(-0.4, {2, 3}), (20.0, {1}), (-20.0, {STEPS + 1})])
def test_positions_halt_each_for_itself(bias, expected_passes):
    output, reports, weights = run("act", bias)
    found = [[one_position(position, weights) for position in row] for row in values()[0]]
    np.testing.assert_allclose(output, [[position[0] for position in row] for row in found], atol=1e-5)
    passes, remainders = (np.array([[position[i] for position in row[:-1]] for row in found]) for i in (1, 2))
    np.testing.assert_allclose(reports["remainder"], remainders.mean(), rtol=1e-5)
    np.testing.assert_allclose(reports["ponder_time"], (passes + remainders).mean(), rtol=1e-5)
    assert set(passes.flat) == expected_passes


def test_reports_of_nothing_but_padding_are_finite():
    layer = RECURRENCES["act"](specs.Recurrence(WIDTH, STEPS, "act"), name="recurrence")
    carry = layer.start(ops.ones((BATCH, LENGTH, WIDTH)))
    reports = layer.reports(carry, ops.zeros((BATCH, LENGTH, 1)))
    assert {name: float(value) for name, value in reports.items()} == {"ponder_time": 0.0, "remainder": 0.0}


def test_gates_mix_the_stream_into_the_output():
    spec = specs.LayerNorm(WIDTH)
    gates = TransformGates(specs.TransformGates(WIDTH), name="gates")
    weights = drawn(gates)
    x, y = values()[0], transformed(values()[0], 0)

    def normed(x):
        centred = x - x.mean(-1, keepdims=True)
        scaled = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return scaled * weights["norm_scale"] + weights["norm_bias"]

    transform = sigmoid(normed(x) @ weights["transform"] + weights["transform_bias"])
    carry = sigmoid(normed(normed(x)) @ weights["carry"] + weights["carry_bias"])
    found = gates(gates.weights_for_compute(), x, y, norm=NORMS[type(spec)](spec, name="norm"))
    np.testing.assert_allclose(np.array(found), carry * x + transform * y, atol=1e-5)
