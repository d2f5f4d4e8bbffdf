"""What a study comes to: the command of each of its runs, what it costs, and what is left to do."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click

from scalecli import costs
from scalecli.architectures import DEFAULT_ARCHITECTURE, build_spec
from scalecli.cli.finetune import command as finetune
from scalecli.cli.options.machine import Run, run_figures, run_from
from scalecli.cli.options.settings import option_words
from scalecli.cli.options.tasks import DESCRIPTION
from scalecli.cli.options.training import recipe_and_saving
from scalecli.cli.pretrain import command as pretrain
from scalecli.cli.pretrain import pretraining_job
from scalecli.costs import Batch
from scalecli.data.tasks.registry import find_tasks
from scalecli.errors import ConfigurationError
from scalecli.operators import operators
from scalecli.references import ModelReference
from scalecli.runs.pretraining_job import PretrainingJob
from scalecli.runs.recipe import Recipe
from scalecli.shape import Shape
from scalecli.studies.execution import Command
from scalecli.studies.models import Trial, trials
from scalecli.studies.progress import Progress
from scalecli.studies.study import Study

# What a study says in its own keys, or by its runs' names, and `pretrain` and `finetune` of its file can't say again.
_SAID = {"run", "seed", "dry-run", "show-examples", "format"}
_SAID_OF_FINETUNE = _SAID | {"tasks", "task"} | {key.replace("_", "-") for key in DESCRIPTION}


@dataclass(frozen=True)
class PlannedRun:
    """One run of a plan: its command, and what it costs.

    `flops` are those of training. `estimate` has the figures of `run_costs.run_figures`, or is what says why the
    machine can't have such a run.
    """

    command: Command
    kind: str
    parameters: int
    steps: int
    flops: int
    estimate: Mapping[str, Any] | str


@dataclass(frozen=True)
class Plan:
    """A study's jobs, each a chain of runs, in order; `source` is what they are pretrained on."""

    jobs: tuple[tuple[PlannedRun, ...], ...]
    machine: Run
    pretraining: PretrainingJob

    @property
    def runs(self) -> list[PlannedRun]:
        """All runs in order."""
        return [run for job in self.jobs for run in job]


def make_plan(study: Study, source: str, directory: Path, machine: Mapping[str, Any]) -> Plan:
    """The plan of a study whose runs lie in `directory`, with what it costs on a machine (see `run_costs.run_from`).

    Raises:
        ConfigurationError: a model, an option or a task that can't be; names the file and the key.
        MissingError: a vocabulary or a task file that isn't there.
    """
    found = trials(study, source)
    reading_words = [
        *option_words(pretrain, _section(study.data, source, "data"), f"{source}: data"),
        *option_words(pretrain, _section(study.pretrain, source, "pretrain", study.data), f"{source}: pretrain"),
    ]
    tuning_words = option_words(finetune, _section(study.finetune, source, "finetune"), f"{source}: finetune")
    given = {**{name: value for name, value in vars(study.machine).items() if value is not None}, **machine}
    with _named(source):
        job = _pretraining(study, found[0], reading_words)
        tuning = _finetuning(study, tuning_words) if study.tasks else None
        shown = run_from(given)
    jobs = []
    for trial in found:
        own = replace(job, model=trial.model)
        shape = own.planned_shape()
        place = directory / trial.name
        words = _pretrain_words(study, trial, place, reading_words)
        batch = Batch(own.recipe.batch, *own.lengths())
        chain = [_planned(Command(trial.name, place, words), "pretrain", trial.model, shape, own.recipe, batch, given)]
        if tuning:
            recipe, batch = tuning
            target = directory / trial.finetuned
            words = ("finetune", str(place), "--run", str(target), "--tasks", ",".join(study.tasks), *tuning_words)
            command = Command(trial.finetuned, target, (*words, "--seed", str(trial.seed)))
            chain.append(_planned(command, "finetune", trial.model, shape, recipe, batch, given))
        jobs.append(tuple(chain))
    return Plan(tuple(jobs), shown, job)


@contextlib.contextmanager
def _named(source: str) -> Iterator[None]:
    """Has a bad configuration say which file it is from."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{source}: {error}") from None


def _section(
    section: dict[str, Any], source: str, name: str, before: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """A section of options, none of which the study says elsewhere."""
    options = {operator.option[2:] for operator in operators().values()}
    said = _SAID_OF_FINETUNE if name == "finetune" else _SAID | {"arch", "steps"} | options
    for key in section:
        if str(key).replace("_", "-") in said:
            raise ConfigurationError(f"{source}: {name}.{key}: a study says this in its own keys, for all runs alike")
        if before is not None and key in before:
            raise ConfigurationError(f"{source}: {name}.{key}: data says it already")
    return section


def _pretrain_words(study: Study, trial: Trial, place: Path, options: Sequence[str]) -> tuple[str, ...]:
    model = trial.model
    architecture = [] if model.architecture == DEFAULT_ARCHITECTURE else ["--arch", model.architecture]
    own = ["--run", str(place), "--steps", str(study.steps), *options, "--seed", str(trial.seed)]
    return ("pretrain", model.name, *architecture, *own)


def _parsed(command: click.Command, words: Sequence[str]) -> dict[str, Any]:
    """The values of all options of a subcommand that is called with these words, defaults and variables included."""
    name = str(command.name)
    context = command.make_context(name, list(words[1:]), auto_envvar_prefix=f"SCALECLI_{name.upper()}")
    return context.params


def _pretraining(study: Study, trial: Trial, options: Sequence[str]) -> PretrainingJob:
    """The job of one trial; those of the others differ in the model, the directory and the seed."""
    parameters = _parsed(pretrain, _pretrain_words(study, trial, Path(trial.name), options))
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
    command: Command,
    kind: str,
    model: ModelReference,
    shape: Shape,
    recipe: Recipe,
    batch: Batch,
    machine: Mapping[str, Any],
) -> PlannedRun:
    spec = build_spec(model.architecture, shape)
    with _named(command.name):
        flops = recipe.steps * sum(costs.flops(spec, batch, "training").values())
    estimate: Mapping[str, Any] | str
    try:
        run = run_from({**machine, "steps": recipe.steps, "precision": recipe.precision})
        estimate = run_figures(spec, batch, run)
    except ConfigurationError as error:
        estimate = str(error)
    return PlannedRun(command, kind, spec.parameters(), recipe.steps, flops, estimate)


def hours_by_run(runs: Sequence[PlannedRun], progress: Sequence[Progress]) -> list[float | None]:
    """The hours of each whole run, None where nothing tells.

    A run whose speed is known has its own. The others have the estimate, corrected by the median of what the measured
    ones of the same kind took over their estimates.
    """
    ratios: dict[str, list[float]] = {}
    for run, now in zip(runs, progress, strict=True):
        if now.steps_per_s and not isinstance(run.estimate, str):
            ratios.setdefault(run.kind, []).append(run.estimate["steps_per_s"] / now.steps_per_s)
    return [_hours(run, now, ratios.get(run.kind, [1.0])) for run, now in zip(runs, progress, strict=True)]


def _hours(run: PlannedRun, now: Progress, ratios: Sequence[float]) -> float | None:
    if now.steps_per_s:
        return run.steps / now.steps_per_s / 3600
    return None if isinstance(run.estimate, str) else run.estimate["hours"] * statistics.median(ratios)
