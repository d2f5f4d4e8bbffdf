"""The studies that come with the package are those of the papers' tables and figures, and micro ones beside them."""

import pytest

from scalecli.analysis.papers.published import published_models
from scalecli.architectures import build_spec
from scalecli.cli.study.command import command
from scalecli.cli.study.plan import hours_by_run, make_plan
from scalecli.costs import Batch, flops
from scalecli.costs.hardware import Machine
from scalecli.released import released_checkpoints
from scalecli.studies.models import trials
from scalecli.studies.progress import RunStatus
from scalecli.studies.study import load_study, ready_made


def trials_of(name):
    """The trials of a study by name."""
    return {trial.name: trial for trial in trials(load_study(name)[1], name)}


def rows_of(source, table):
    return {model.name for model in published_models().values() if (model.source, model.table) == (source, table)}


def test_help_names_all_of_them():
    papers, micro = ["architectures", "deep-narrow", "knobs"], ["architectures", "isoflop", "scaling"]
    assert ready_made() == sorted([*papers, *(f"{name}-micro" for name in micro)])
    assert all(name in " ".join(command.help.split()) for name in ready_made())


def test_deep_narrow_has_the_rows_of_table_4():
    assert set(trials_of("deep-narrow")) == rows_of("scale-efficiently", "table-4")


def test_architectures_has_the_rows_of_table_1():
    ours = {f"{trial.model.architecture}-{trial.model.name}" for trial in trials_of("architectures").values()}
    assert ours == rows_of("architectures", "table-1")


def test_the_micro_architectures_are_those_of_table_1_at_three_sizes_with_two_seeds():
    micro = [trial.model.architecture for trial in trials_of("architectures-micro").values()]
    assert {*micro} == {trial.model.architecture for trial in trials_of("architectures").values()}
    assert all(micro.count(name) == 6 for name in micro)


def test_knobs_has_every_released_model_that_is_one_operator_from_base():
    released = {
        checkpoint.shape
        for checkpoint in released_checkpoints()
        if checkpoint.size == "base" and len(checkpoint.operators) <= 1
    }
    assert {trial.model.shape for trial in trials_of("knobs").values()} == released


def test_scaling_micro_has_four_sizes_over_a_factor_of_30_and_two_seeds_of_the_smallest():
    models = {name: trial.model for name, trial in trials_of("scaling-micro").items()}
    assert sorted(name for name in models if name.endswith("-seed1")) == [
        f"tiny-nl2-{rest}-seed1" for rest in ("dm16-ff64-kv8-nh2", "dm32-ff128-kv8")
    ]
    costs = []
    for model in models.values():
        parts = flops(build_spec(model.architecture, model.shape), Batch(32, 64, 14), "forward")
        costs.append(sum(parts.values()) - parts["logits"])
    assert len({*costs}) == 4 and max(costs) > 30 * min(costs)


@pytest.mark.parametrize("name", ready_made())
def test_each_is_a_plan_at_the_scale_that_it_says(name, tmp_path, monkeypatch):
    monkeypatch.setattr("scalecli.cli.study.plan.this_machine", lambda: Machine("cpu", 1))
    monkeypatch.setattr("scalecli.cli.study.plan.speed_here", lambda machine: 1.0)
    plan = make_plan(load_study(name)[1], name, tmp_path)
    if name.endswith("-micro"):
        assert plan.is_here and sum(hours_by_run(plan.runs, [RunStatus()] * len(plan.runs))) < 2
        assert not any(run.kind == "finetune" for run in plan.runs)
    else:
        assert (plan.machine.machine.name, plan.machine.machine.chips) == ("tpu-v3", 16)
        assert {run.steps for run in plan.runs} == {524_288, 100_000}
        assert plan.pretraining.recipe.batch == 128 and plan.pretraining.source.dataset == "c4/en"
