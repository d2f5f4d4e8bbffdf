"""Adafactor and the schedules against traces of the original code."""

import keras
import numpy as np
import pytest

from scalecli.training.optimizers import KerasSchedule
from scalecli.training.optimizers.adafactor import Adafactor
from scalecli.training.schedules import Schedule
from tests import oracle

INVERSE_SQUARE_ROOT = Schedule("inverse-square-root", 0.01, 10_000, 524_288)
CONSTANT = Schedule("constant", 1e-3, 0, 10)


def variable_of(value, stacked=False):
    variable = keras.Variable(value, dtype="float32")
    variable.stacked = stacked
    return variable


@oracle.needs_oracle
@pytest.mark.parametrize(
    ("trace", "schedule"),
    [("adafactor_trace_const1e-3", CONSTANT), ("adafactor_trace_rsqrt_warmup10000", INVERSE_SQUARE_ROOT)],
)
def test_steps_are_the_original_codes(trace, schedule):
    arrays = oracle.load(f"{trace}.npz")
    names = [key.removeprefix("init:") for key in arrays if key.startswith("init:")]
    variables = [variable_of(arrays[f"init:{name}"]) for name in names]
    optimizer = Adafactor(KerasSchedule(schedule))
    optimizer.build(variables)
    steps = len(arrays[f"grad:{names[0]}"])
    recorded = {"cube": [0, 1, steps - 1]}
    for step in range(steps):
        optimizer.apply([keras.ops.convert_to_tensor(arrays[f"grad:{name}"][step]) for name in names], variables)
        for name, variable in zip(names, variables, strict=True):
            if step in recorded.get(name, range(steps)):
                row = recorded[name].index(step) if len(arrays[f"after:{name}"]) < steps else step
                expected = arrays[f"after:{name}"][row]
                np.testing.assert_allclose(np.asarray(variable), expected, rtol=1e-6, atol=1e-9, err_msg=name)
    for name, statistics in zip(names, optimizer._statistics, strict=True):
        for kind, slot in (("rows", "vr"), ("columns", "vc"), ("full", "v")):
            key = f"slot:{name}_slot_{slot}"
            assert (kind in statistics) == (key in arrays), key
            if kind in statistics:
                np.testing.assert_allclose(np.asarray(statistics[kind]), arrays[key][-1], rtol=2e-6, err_msg=key)


def test_stacked_layers_step_as_if_each_stood_alone():
    random = np.random.default_rng(0)
    weights = random.normal(size=(3, 130, 129)).astype("float32") * np.array([0.1, 1.0, 10.0])[:, None, None]
    gradients = random.normal(size=(2, 3, 130, 129)).astype("float32")
    stack = variable_of(weights, stacked=True)
    alone = [variable_of(weight) for weight in weights]
    for variables, of_step in (([stack], lambda g: [g]), (alone, list)):
        optimizer = Adafactor(0.01)
        for gradient in gradients:
            optimizer.apply([keras.ops.convert_to_tensor(g) for g in of_step(gradient)], variables)
    np.testing.assert_allclose(np.asarray(stack), np.stack([np.asarray(each) for each in alone]), rtol=1e-6, atol=1e-7)
    assert np.abs(np.asarray(stack) - weights).max() > 1e-3


def test_factored_weights_keep_no_full_second_moment():
    matrix = variable_of(np.ones((256, 512), "float32"))
    optimizer = Adafactor(0.01)
    optimizer.build([matrix])
    assert sum(np.prod(each.shape) for each in optimizer.variables) < 256 + 512 + 8


def test_bfloat16_weights_keep_float32_statistics():
    variable = keras.Variable(np.ones((200,), "float32"), dtype="bfloat16")
    optimizer = Adafactor(0.1)
    optimizer.apply([keras.ops.ones((200,), "bfloat16")], [variable])
    assert optimizer._statistics[0]["full"].dtype == "float32"
    np.testing.assert_allclose(np.asarray(keras.ops.cast(variable, "float32")), 0.9, atol=4e-3)


@oracle.needs_oracle
def test_schedules_are_the_original_codes():
    arrays = oracle.load("schedules.npz")
    steps = arrays["steps"]
    rates = [float(INVERSE_SQUARE_ROOT.rate(int(step))) for step in steps]
    np.testing.assert_allclose(rates, arrays["truncated_rsqrt_warmup10000"], rtol=1e-6)


def test_schedules_rise_and_fall():
    for name, halfway in (("linear", 0.5), ("cosine", 0.5), ("constant", 1.0)):
        schedule = Schedule(name, 2.0, 10, 110)
        rates = [float(schedule.rate(step)) for step in range(0, 121)]
        assert rates[0] == pytest.approx(2.0 / 11)
        assert max(rates) == pytest.approx(2.0)
        assert rates[60] == pytest.approx(2.0 * halfway)
        assert rates[120] == pytest.approx(2.0 if name == "constant" else 0.0, abs=1e-6)
