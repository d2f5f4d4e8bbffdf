"""Adafactor's state in T5X's checkpoints: training goes on from it as it would have there."""

from dataclasses import replace

import numpy as np
import pytest

from scalecli.costs import factored_axes
from scalecli.errors import ConfigurationError
from scalecli.interchange.t5x import checkpoint as t5x
from tests.interchange.plain import exported, model_of
from tests.interchange.t5x.trees import tree_of, write

WIDE = {"encoder_layers": 1, "decoder_layers": 2, "d_model": 128, "d_ff": 160, "d_kv": 64, "heads": 2}


def statistics_of(arrays, squared):
    """T5X's Adafactor of squared gradients [as the weights], by the path of the weight."""
    statistics = {}
    for path, array in arrays.items():
        name, moments = path.removeprefix("target/"), squared[path]
        slots = dict.fromkeys(("m", "v", "v_row", "v_col"), np.zeros(1, np.float32))
        *_, second, largest = (-1, *np.argsort(array.shape, kind="stable"))
        if array.ndim < 2 or array.shape[second] < 128:
            slots["v"] = moments
        else:
            slots |= {"v_row": moments.mean(axis=largest), "v_col": moments.mean(axis=second)}
        statistics |= {f"state/param_states/{name}/{slot}": value for slot, value in slots.items()}
    return statistics


def with_state(step=3, seed=2):
    """A model with matrices that are factored, square ones too, and T5X's tree with the optimizer's state."""
    model = exported("glu", tied=False, **WIDE)
    tree = tree_of(model)
    random = np.random.default_rng(seed)
    squared = {path: random.uniform(0.1, 1, array.shape).astype(np.float32) for path, array in tree.items()}
    return model, tree, {**statistics_of(tree, squared), "state/step": np.asarray(step, np.int32)}


def t5x_step(array, gradient, state, name, step, rate):
    """One step of T5X's Adafactor (Shazeer and Stern 2018, Algorithms 4 and 8), in float64."""
    decay = 1 - (step + 1.0) ** -0.8
    squared = gradient.astype(np.float64) ** 2 + 1e-30
    row, column = state[f"state/param_states/{name}/v_row"], state[f"state/param_states/{name}/v_col"]
    if len(row) == 1:
        moments = decay * state[f"state/param_states/{name}/v"] + (1 - decay) * squared
        update = gradient / np.sqrt(moments)
    else:
        *_, second, largest = np.argsort(array.shape, kind="stable")
        row = decay * row + (1 - decay) * squared.mean(axis=largest)
        column = decay * column + (1 - decay) * squared.mean(axis=second)
        factor = np.expand_dims((row / row.mean()) ** -0.5, largest) * np.expand_dims(column**-0.5, second)
        update = gradient * factor
    update /= max(1, np.sqrt((update**2).mean()))
    return array - rate * max(np.sqrt((array.astype(np.float64) ** 2).mean()), 1e-3) * update


def test_training_goes_on_as_there(tmp_path):
    from scalecli.training.checkpoints import assign
    from scalecli.training.optimizers.adafactor import Adafactor

    model, tree, state = with_state(step=3)
    write(tmp_path / "checkpoint_3", {**tree, **state})
    imported = t5x.read(tmp_path, step=None, optimizer=True)
    shapes = {path: factored_axes(weight.shape) for path, (_, weight) in model.spec.weights().items()}
    assert shapes["decoder/0/self_attention/query"] == (0, 1) and shapes["decoder/0/feed_forward/gate"] == (1, 0)
    assert shapes["decoder/final_norm/scale"] is None

    network = model_of(model.spec, imported.weights)
    weights = network.weights_by_path()
    optimizer = Adafactor(learning_rate=0.05)
    optimizer.build(list(weights.values()))
    assign(optimizer.state_by_path(weights), imported.optimizer, "the test")
    random = np.random.default_rng(5)
    gradients = {path: random.normal(size=weight.shape).astype(np.float32) for path, weight in weights.items()}
    optimizer.apply([gradients[path] for path in weights], list(weights.values()))

    after = replace(model, weights={path: np.asarray(weight) for path, weight in weights.items()})
    at_gradients = tree_of(replace(model, weights=gradients))
    for path, array in tree_of(after).items():
        expected = t5x_step(tree[path], at_gradients[path], state, path.removeprefix("target/"), 3, 0.05)
        np.testing.assert_allclose(array, expected, rtol=1e-4, atol=1e-6, err_msg=path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"state/step": np.asarray(4, np.int32)}, "its state/step is not 3"),
        ({"state/step": None}, "its state/step is not 3"),
        ({"state/param_states/decoder/decoder_norm/scale/v": None}, "decoder_norm/scale/v .*lacks it"),
        ({"state/param_states/decoder/decoder_norm/scale/v": np.zeros(3, np.float32)}, r"has float32 \[3\]"),
        (
            {"state/param_states/decoder/decoder_norm/scale/m": np.zeros(128, np.float32)},
            r"scale/m .* has float32 \[128\]",
        ),
        ({"state/param_states/decoder/layers_1/mlp/wo/kernel/v_row": np.zeros(160, np.float32)}, r"v_row .* \[160\]"),
    ],
)
def test_other_states_of_an_optimizer_are_refused(tmp_path, change, message):
    _, tree, state = with_state()
    arrays = {path: array for path, array in {**tree, **state, **change}.items() if array is not None}
    write(tmp_path / "checkpoint_3", arrays)
    with pytest.raises(ConfigurationError, match=f"{message}.*leave the optimizer out"):
        t5x.read(tmp_path, step=None, optimizer=True)
    assert t5x.read(tmp_path, step=None, optimizer=False).optimizer is None
