"""The plan of a study: the command of each run, and what it costs."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from scalecli import costs
from scalecli.architectures import DEFAULT_ARCHITECTURE, build_spec
from scalecli.architectures.loading import address_of, code_of
from scalecli.architectures.operators import operators
from scalecli.cli.finetune import command as finetune
from scalecli.cli.options.machine import PricedRun, run_figures, run_from
from scalecli.cli.options.settings import option_words
from scalecli.cli.options.tasks import DESCRIPTION
from scalecli.cli.options.training import recipe_and_saving
from scalecli.cli.pretrain import command as pretrain
from scalecli.cli.pretrain import pretraining_job
from scalecli.costs import Batch
from scalecli.costs.hardware import DEFAULT_CHIP
from scalecli.costs.this_machine import COMPILE_SECONDS, IMPORT_SECONDS, speed_here, this_machine
from scalecli.data.tasks.registry import find_tasks
from scalecli.errors import ConfigurationError, errors_at
from scalecli.runs.recipe import Recipe
from scalecli.runs.training import PretrainingJob
from scalecli.specs import ModelSpec
from scalecli.studies.execution import RunCommand
from scalecli.studies.models import Trial, budget_name, trials
from scalecli.studies.progress import RunStatus
from scalecli.studies.study import Study
from scalecli.tables import humanise

# Options that a study sets by its own keys or by its runs' names, and that its sections can't set again.
_OWN = {"run", "seed", "dry-run", "show-examples", "format"}
_OWN_IN_FINETUNE = _OWN | {"tasks", "task"} | {key.replace("_", "-") for key in DESCRIPTION}


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan: its command, and what it costs.

    `flops` are those of training, `budget` what they may be, where the study gives budgets. `steps_per_s` and `fits`
    are estimates for the plan's machine, None where `problem` says why it can't have such a run.
    """

    command: RunCommand
    kind: str
    parameters: int
    steps: int
    flops: int
    budget: float | None = None
    steps_per_s: float | None = None
    fits: bool | None = None
    problem: str | None = None


@dataclass(frozen=True)
class Plan:
    """A study's jobs, each a chain of runs, in order.

    `machine` is what times are estimated for, `is_here` whether it is this machine. `pretraining` is the first trial's.
    """

    jobs: tuple[tuple[PlannedRun, ...], ...]
    machine: PricedRun
    is_here: bool
    pretraining: PretrainingJob

    @property
    def runs(self) -> list[PlannedRun]:
        """All runs in order."""
        return [run for job in self.jobs for run in job]


def make_plan(study: Study, source: str, directory: Path, chip: str | None = None, chips: int | None = None) -> Plan:
    """The plan of a study whose runs lie in `directory`, with what it costs on a machine: by default the study's.

    Raises:
        ConfigurationError: an impossible model, option, task or machine, or a budget that pays for no step; names the
            file and the key.
        MissingError: a vocabulary or a task file that isn't there.
    """
    all_trials = trials(study, source)
    reading_words = [
        *option_words(pretrain, _section(study.data, source, "data"), f"{source}: data"),
        *option_words(pretrain, _section(study.pretrain, source, "pretrain", study.data), f"{source}: pretrain"),
    ]
    tuning_words = option_words(finetune, _section(study.finetune, source, "finetune"), f"{source}: finetune")
    with errors_at(source):
        job = _pretraining(study, all_trials[0], reading_words)
        tuning = _finetuning(study, tuning_words) if study.tasks else None
        machine, is_here = _machine(study, chip, chips)
    batch = Batch(job.recipe.batch, *job.lengths())
    jobs = []
    for trial in all_trials:
        spec = build_spec(trial.model.architecture, replace(job, model=trial.model).planned_shape())
        with errors_at(f"{source}: {trial.name}"):
            steps = _steps(study, trial, spec, batch)
        run = directory / trial.name
        command = RunCommand(trial.name, run, _pretrain_words(trial, run, steps, reading_words))
        recipe = replace(job.recipe, steps=steps)
        chain = [_planned(command, "pretrain", spec, recipe, batch, machine, is_here, trial.budget)]
        if tuning and trial.finetunes:
            tuning_recipe, tuning_batch = tuning
            target = directory / trial.finetuned
            own = ["--arch", address_of(trial.model.architecture)] if code_of(trial.model.architecture) else []
            words = ("finetune", str(run), *own, "--run", str(target), "--tasks", ",".join(study.tasks), *tuning_words)
            command = RunCommand(trial.finetuned, target, (*words, "--seed", str(trial.seed)))
            chain.append(_planned(command, "finetune", spec, tuning_recipe, tuning_batch, machine, is_here))
        jobs.append(tuple(chain))
    return Plan(tuple(jobs), machine, is_here, job)


def _machine(study: Study, chip: str | None, chips: int | None) -> tuple[PricedRun, bool]:
    """The machine of the options, else of the study, else this one, else the papers'; and whether it is this one."""
    if chip is None and study.machine is not None:
        chip, chips = study.machine.chip, chips or study.machine.chips
    here = this_machine() if chip is None else None
    if here is not None:
        chip, chips = here.name, chips or here.chips
    chip = chip or DEFAULT_CHIP
    return run_from({"chip": chip} | ({"chips": chips} if chips else {})), here is not None


def _steps(study: Study, trial: Trial, spec: ModelSpec, batch: Batch) -> int:
    """The steps of a trial's pretraining: the study's, or as many as its budget pays for, rounded down.

    Raises:
        ConfigurationError: the budget pays for none.
    """
    if trial.budget is None:
        assert study.steps is not None  # a study without budgets has steps
        return study.steps
    step_flops = sum(costs.flops(spec, batch, "training").values())
    steps = int(trial.budget) // step_flops
    if not steps:
        raise ConfigurationError(
            f"budgets: {budget_name(trial.budget)} training FLOPs pay for no step of this model, which takes "
            f"{humanise(step_flops, 'flops')}"
        )
    return steps


def _section(
    section: dict[str, Any], source: str, name: str, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A section of options. Raises ConfigurationError for one that the study sets elsewhere."""
    options = {operator.option[2:] for operator in operators().values()}
    own = _OWN_IN_FINETUNE if name == "finetune" else _OWN | {"arch", "steps"} | options
    for key in section:
        if str(key).replace("_", "-") in own:
            raise ConfigurationError(f"{source}: {name}.{key}: a study says this in its own keys, for all runs alike")
        if before is not None and key in before:
            raise ConfigurationError(f"{source}: {name}.{key}: data says it already")
    return section


def _pretrain_words(trial: Trial, run: Path, steps: int, options: Sequence[str]) -> tuple[str, ...]:
    model = trial.model
    architecture = [] if model.architecture == DEFAULT_ARCHITECTURE else ["--arch", address_of(model.architecture)]
    own = ["--run", str(run), "--steps", str(steps), *options, "--seed", str(trial.seed)]
    return ("pretrain", model.name, *architecture, *own)


def _parsed(command: click.Command, words: Sequence[str]) -> dict[str, Any]:
    """The values of all options of a subcommand that is called with these words, defaults and variables included."""
    name = str(command.name)
    context = command.make_context(name, list(words[1:]), auto_envvar_prefix=f"SCALECLI_{name.upper()}")
    return context.params


def _pretraining(study: Study, trial: Trial, options: Sequence[str]) -> PretrainingJob:
    """The job of one trial; those of the others differ in the model, the directory, the seed and the budget's steps."""
    parameters = _parsed(pretrain, _pretrain_words(trial, Path(trial.name), study.steps or 1, options))
    del parameters["model"]
    return pretraining_job(trial.model, **parameters)


def _finetuning(study: Study, options: Sequence[str]) -> tuple[Recipe, Batch]:
    """How the study's models are finetuned, and the longest inputs and targets of its tasks."""
    parameters = _parsed(finetune, ("finetune", "RUN", "--tasks", ",".join(study.tasks), *options))
    tasks = [task for task in find_tasks(study.tasks, parameters["data_dir"]) if task.has("train")]
    if not tasks:
        raise ConfigurationError(f"tasks: none of {', '.join(study.tasks)} has a train split")
    recipe, _ = recipe_and_saving(parameters)
    inputs, targets = max(task.inputs_length for task in tasks), max(task.targets_length for task in tasks)
    return recipe, Batch(recipe.batch, inputs, targets)


def _planned(
    command: RunCommand,
    kind: str,
    spec: ModelSpec,
    recipe: Recipe,
    batch: Batch,
    machine: PricedRun,
    is_here: bool,
    budget: float | None = None,
) -> PlannedRun:
    with errors_at(command.name):
        flops = recipe.steps * sum(costs.flops(spec, batch, "training").values())
    run = PlannedRun(command, kind, spec.parameters(), recipe.steps, flops, budget)
    try:
        training = replace(machine.training, precision=recipe.precision)
        figures = run_figures(spec, batch, replace(machine, training=training, steps=recipe.steps))
    except ConfigurationError as error:
        return replace(run, problem=str(error))
    steps_per_s = figures["steps_per_s"] * (speed_here(machine.machine) if is_here else 1.0)
    return replace(run, steps_per_s=steps_per_s, fits=figures["fits"])


def hours_by_run(runs: Sequence[PlannedRun], progress: Sequence[RunStatus]) -> list[float | None]:
    """The hours of each whole run with its start, None where nothing tells.

    A run whose speed is known has its own. The others have the estimate, corrected by the median of what the measured
    ones of the same kind took over their estimates; so has what they take beside their steps.
    """
    ratios: dict[str, list[float]] = {}
    other_seconds: dict[str, list[float]] = {}
    for run, now in zip(runs, progress, strict=True):
        if now.steps_per_s and run.steps_per_s:
            ratios.setdefault(run.kind, []).append(run.steps_per_s / now.steps_per_s)
        if now.other_seconds is not None:
            other_seconds.setdefault(run.kind, []).append(now.other_seconds)
    hours: list[float | None] = []
    for run, now in zip(runs, progress, strict=True):
        estimate = run.steps_per_s and run.steps_per_s / statistics.median(ratios.get(run.kind, [1.0]))
        steps_per_s = now.steps_per_s or estimate
        beside = statistics.median(other_seconds.get(run.kind, [COMPILE_SECONDS]))
        hours.append((IMPORT_SECONDS + beside + run.steps / steps_per_s) / 3600 if steps_per_s else None)
    return hours
