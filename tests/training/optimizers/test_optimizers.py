"""AdamW against PyTorch's, and what is asked of optimizers on the command line."""

import keras
import numpy as np
import pytest

from scalecli.errors import ConfigurationError
from scalecli.runs.recipe import Recipe
from scalecli.training.optimizers import AdamW, new_optimizer
from scalecli.training.optimizers.adafactor import Adafactor
from scalecli.training.schedules import Schedule
from tests.runs.conftest import command
from tests.training.optimizers.test_adafactor import variable_of

CONSTANT = Schedule("constant", 0.01, 0, 10)


def test_steps_are_pytorchs():
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    first = {
        "matrix": random.normal(size=(3, 4)).astype("float32"),
        "vector": random.normal(size=5).astype("float32"),
        "layers of vectors": random.normal(size=(2, 3)).astype("float32"),
        "layers of matrices": random.normal(size=(2, 3, 4)).astype("float32"),
    }
    gradients = [
        {name: random.normal(size=each.shape).astype("float32") for name, each in first.items()} for _ in "123"
    ]
    ours = {name: variable_of(each, stacked=name.startswith("layers")) for name, each in first.items()}
    optimizer = new_optimizer("adamw", CONSTANT, 0.5)
    theirs = {name: torch.nn.Parameter(torch.tensor(each)) for name, each in first.items()}
    decaying, others = (
        {"params": [each for name, each in theirs.items() if ("matri" in name) is decays], "weight_decay": decay}
        for decays, decay in ((True, 0.5), (False, 0.0))
    )
    reference = torch.optim.AdamW([decaying, others], lr=0.01, eps=1e-7)
    for of_step in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(of_step[name]) for name in ours], list(ours.values()))
        for name, each in theirs.items():
            each.grad = torch.tensor(of_step[name])
        reference.step()
        for name, each in ours.items():  # Keras adds epsilon, 1e-7, before the correction of the second moment
            np.testing.assert_allclose(np.asarray(each), theirs[name].detach().numpy(), atol=2e-5)
    state = optimizer.state_by_path(ours)
    assert set(state) == {"iterations", *(f"{name}/{kind}" for name in ours for kind in ("momentum", "velocity"))}
    moment = reference.state[theirs["matrix"]]["exp_avg_sq"].numpy()
    np.testing.assert_allclose(np.asarray(state["matrix/velocity"]), moment, rtol=1e-5)


def test_a_recipe_names_its_optimizer():
    made = Recipe(10, 8, CONSTANT, 0.0, 0).new_optimizer()
    assert isinstance(made, Adafactor)
    recipe = Recipe(10, 8, CONSTANT, 0.0, 0, optimizer="adamw", weight_decay=0.1)
    assert isinstance(recipe.new_optimizer(), AdamW)
    assert recipe.optimizer_entry() == {"name": "adamw", "weight_decay": 0.1}
    with pytest.raises(ConfigurationError, match="and adafactor has none; adamw has"):
        Recipe(10, 8, CONSTANT, 0.0, 0, weight_decay=0.1)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--optimizer", "adamw"], 2, "--optimizer adamw: give --learning-rate; its default, 0.01, is for adafactor"),
        (["--weight-decay", "0.1"], 3, "weight_decay is 0.1, and adafactor has none"),
        (["--learning-rate", "1e-3", "--optimizer", "adamw", "--weight-decay", "-1"], 3, "weight_decay is -1"),
    ],
)
def test_what_does_not_go_together_is_one_line(options, code, message):
    assert message in command("pretrain", "tiny", "--dry-run", "--vocabulary", "train:2000", *options).failed(code)
