"""The lists of a study multiplied out: which models, in which order, under which names."""

import pytest

from scalecli.errors import ConfigurationError
from scalecli.shape import parse_name
from scalecli.studies.models import narrowed, trials
from scalecli.studies.study import Study


def names(**keys):
    return [trial.name for trial in trials(Study(steps=1, **keys), "s.yaml")]


def test_the_base_then_each_operator_then_the_shapes():
    assert names(base="small", operators=("nl24", "el8-dl2"), shapes=("Base",)) == [
        *("small", "small-nl24", "small-el8-dl2", "base")
    ]


def test_all_models_for_a_seed_then_all_for_the_next():
    assert names(shapes=("tiny", "mini"), seeds=(0, 7)) == ["tiny", "mini", "tiny-seed7", "mini-seed7"]


def test_each_shape_of_each_architecture_but_those_without():
    planned = trials(
        Study(
            steps=1,
            shapes=("tiny", "small"),
            architectures=("transformer", "switch-ne8", "glu"),
            without=("glu-tiny", "small"),
        ),
        "s.yaml",
    )
    assert [trial.name for trial in planned] == ["tiny", "switch-ne8-tiny", "switch-ne8-small", "glu-small"]
    assert [trial.model.architecture for trial in planned] == ["transformer", "switch", "switch", "glu"]
    assert planned[2].model.shape == parse_name("small-ne8", "switch")
    assert planned[2].model.name == "small-ne8"


def test_without_takes_every_name_that_a_plan_lists():
    """The name of a model is that of all its runs; `tiny-finetuned` leaves the pretraining alone."""
    keys = {"shapes": ("tiny", "mini"), "seeds": (0, 1), "tasks": ("sst2",)}
    assert names(**keys, without=("tiny-seed1",)) == ["tiny", "mini", "mini-seed1"]
    assert names(**keys, without=("tiny",)) == ["mini", "mini-seed1"]
    kept = trials(Study(steps=1, **keys, without=("tiny-finetuned", "mini-seed1-finetuned")), "s.yaml")
    assert [(trial.name, trial.finetunes) for trial in kept] == [
        *(("tiny", False), ("mini", True), ("tiny-seed1", True), ("mini-seed1", False))
    ]
    budgets = {"shapes": ("tiny", "mini"), "seeds": (0, 1), "budgets": (1e13, 3e13)}
    left = [trial.name for trial in trials(Study(**budgets, without=("tiny-3e13", "mini-1e13-seed1")), "s.yaml")]
    assert left == ["tiny-1e13", "mini-1e13", "mini-3e13", "tiny-1e13-seed1", "mini-3e13-seed1"]


def test_each_model_has_a_run_for_each_budget():
    study = Study(shapes=("tiny", "mini"), budgets=(1e13, 2.5e14, 1e6))
    planned = trials(study, "s.yaml")
    assert [(trial.name, trial.budget) for trial in planned[:3]] == [
        *(("tiny-1e13", 1e13), ("tiny-2.5e14", 2.5e14), ("tiny-1e6", 1e6))
    ]
    assert len(planned) == 6


def test_a_model_that_comes_twice_is_trained_once():
    assert names(base="base", operators=("nl12", "nl24"), shapes=("base-el12",)) == ["base", "base-nl24"]


def test_a_study_that_grows_keeps_the_names_of_its_runs():
    before = names(base="tiny", operators=("nl2",))
    more = {"operators": ("nl8", "nl2"), "shapes": ("base",), "architectures": ("glu", "transformer"), "seeds": (1, 0)}
    assert set(before) < set(names(base="tiny", **more))


def test_narrow_divides_the_widths_and_nothing_else():
    whole = parse_name("small", "albert")
    narrow = narrowed(whole, 8)
    assert (narrow.d_model, narrow.d_ff, narrow.d_kv, narrow.embedding_size) == (64, 384, 8, 16)
    assert (narrow.encoder_layers, narrow.heads, narrow.shared_stacks) == (6, 12, False)
    assert narrowed(parse_name("small", "glu"), 8).d_ff == 171  # 1365 / 8, rounded
    assert narrowed(parse_name("tiny"), 1000).d_kv == 1
    (trial,) = trials(Study(steps=1, base="small-nl24", narrow=16), "s.yaml")
    assert trial.name == "narrow16-small-nl24"
    assert parse_name(trial.model.name) == narrowed(parse_name("small-nl24"), 16)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"shapes": ("smal",)}, "s.yaml: transformer: 'smal' in 'smal' is neither a size nor an operator"),
        (
            {"base": "small", "operators": ("nm24",)},
            "s.yaml: transformer: 'nm24' in 'small-nm24' is neither a size nor an operator",
        ),
        (
            {"base": "small-nl2", "operators": ("nl24",)},
            "s.yaml: transformer: 'small-nl2-nl24' has the operator NL twice",
        ),
        ({"base": "small", "architectures": ("swich",)}, "did you mean 'switch'?"),
        ({"base": "small", "architectures": ("transformer-ne8",)}, "transformer has no experts"),
        (
            {"base": "xl", "architectures": ("universal",)},
            "s.yaml: universal: 'xl' in 'xl' is neither a size nor an operator",
        ),
        ({"base": "small", "without": ("base",)}, "s.yaml: without: the study has no run 'base'"),
        ({"base": "small", "without": ("small",)}, "s.yaml: without: it names every run"),
        ({"base": "small", "without": ("small-seed1",)}, "s.yaml: without: the study has no run 'small-seed1'"),
        ({"base": "small", "without": ("small-finetuned",)}, "without: the study has no run 'small-finetuned'"),
        ({"base": "google/t5-efficient-small"}, "can't be a directory's name"),
        ({"base": "small", "seeds": tuple(range(10_001))}, "s.yaml: more than 10,000 runs"),
    ],
)
def test_what_can_t_be_is_an_error(keys, message):
    with pytest.raises(ConfigurationError) as caught:
        names(**keys)
    assert message in str(caught.value)
