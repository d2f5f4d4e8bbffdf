"""The studies that come with the package are those of the papers' tables and figures, and micro ones beside them."""

import pytest

from scalecli.analysis.papers.published import published_models
from scalecli.cli.study.command import command
from scalecli.cli.study.plan import hours_by_run, make_plan
from scalecli.released import released_checkpoints
from scalecli.shape import parse_name
from scalecli.studies.models import trials
from scalecli.studies.progress import Progress
from scalecli.studies.study import load_study, ready_made


def found(name):
    """The trials of a study by name."""
    return {trial.name: trial for trial in trials(load_study(name)[1], name)}


def rows_of(source, table):
    return {each.name for each in published_models().values() if (each.source, each.table) == (source, table)}


def test_there_are_three_each_with_a_micro_one_and_help_names_them():
    assert ready_made() == sorted(
        f"{name}{suffix}" for name in ("architectures", "deep-narrow", "knobs") for suffix in ("", "-micro")
    )
    assert all(name in " ".join(command.help.split()) for name in ready_made())


def test_deep_narrow_has_the_rows_of_table_4():
    assert set(found("deep-narrow")) == rows_of("scale-efficiently", "table-4")
    micro = {name.removeprefix("narrow16-") for name in found("deep-narrow-micro")}
    assert micro == set(found("deep-narrow")) - {"xl", "large-nl36", "xxl", "xl-nl32"}


def test_architectures_has_the_rows_of_table_1():
    ours = {f"{trial.model.architecture}-{trial.model.name}" for trial in found("architectures").values()}
    assert ours == rows_of("architectures", "table-1")
    micro = [trial.model.architecture for trial in found("architectures-micro").values()]
    assert len(set(micro)) == 12
    assert all(micro.count(architecture) == 3 for architecture in micro)


def test_knobs_has_every_released_model_that_is_one_operator_from_base():
    released = {each.shape for each in released_checkpoints() if each.size == "base" and len(each.operators) <= 1}
    assert {trial.model.shape for trial in found("knobs").values()} == released


def test_a_knob_of_the_micro_study_is_narrower_by_the_same():
    micro = found("knobs-micro")
    assert all(len(name.split("-")) <= 3 for name in micro)
    assert micro["narrow16-base-ff6k"].model.shape.d_ff == parse_name("base-ff6k").d_ff // 16


@pytest.mark.parametrize("name", ready_made())
def test_each_is_a_plan_at_the_scale_that_it_says(name, tmp_path):
    plan = make_plan(load_study(name)[1], name, tmp_path)
    if name.endswith("-micro"):
        assert plan.is_here and sum(hours_by_run(plan.runs, [Progress()] * len(plan.runs))) < 2
        assert not any(run.kind == "finetune" for run in plan.runs)
    else:
        assert (plan.machine.machine.name, plan.machine.machine.chips) == ("tpu-v3", 16)
        assert {run.steps for run in plan.runs} == {524_288, 100_000}
        assert plan.pretraining.recipe.batch == 128 and plan.pretraining.source.dataset == "c4/en"
