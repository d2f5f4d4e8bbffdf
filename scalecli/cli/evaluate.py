"""`scalecli eval`: a run's scores on tasks, or its perplexity on text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecli.cli.output import Column, format_option, print_table
from scalecli.cli.task_options import task_options
from scalecli.cli.training_options import cache_directory as the_cache_directory
from scalecli.cli.training_options import cache_option, device_options, devices_asked_for, run_option, this_command_line
from scalecli.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from scalecli.data.tasks import Task
    from scalecli.runs.directory import Trained


@click.command("eval")
@click.argument("model", metavar="RUN", required=False)
@run_option("Where results go. [default: RUN/eval/TASK-SPLIT-STEP; text-HASH-STEP for text]")
@click.option(
    "--checkpoints",
    "--step",
    metavar="all|best|last|STEP",
    help="The checkpoints to evaluate. [default: the last]",
)
@task_options
@click.option("--list-tasks", is_flag=True, help="List the tasks that --tasks knows, and their groups.")
@click.option("--split", type=click.Choice(("train", "validation", "test")), default="validation", show_default=True)
@click.option(
    "--rank-classification",
    is_flag=True,
    help="Take the likeliest of a task's labels instead of decoding, if it has any.",
)
@click.option("--beams", type=int, default=1, show_default=True, help="Beams of the decoding; 1 is greedy.")
@click.option("--text", multiple=True, metavar="PATH", help="Text whose perplexity to measure, instead of a task.")
@click.option("--examples", type=int, default=4096, show_default=True, help="Segments of text, at most.")
@click.option("--batch", type=int, default=64, show_default=True, help="Examples at once.")
@device_options
@cache_option
@format_option
def command(
    model: str | None,
    run: str | None,
    checkpoints: str | None,
    tasks: tuple[Task, ...],
    tasks_name: str | None,
    list_tasks: bool,
    split: str,
    rank_classification: bool,
    beams: int,
    text: tuple[str, ...],
    examples: int,
    batch: int,
    cache_directory: Path | None,
    format: str,
    **device_values: Any,
) -> None:
    """Score RUN on tasks, or measure its perplexity on text.

    RUN is a run's directory or manifest, or the folder of one of its checkpoints. Tasks are those of the papers by name
    (--tasks glue,superglue,squad --data-dir DIR), a YAML file (--task) or described by flags; they are decoded
    greedily, or by beam search (--beams). Predictions, the scores with their 95% intervals, and what they were measured
    on go into a directory of their own; predictions for the test sets of GLUE and SuperGLUE also as the files that are
    handed in. A finetuned run is scored on its own tasks when neither tasks nor --text are given.
    """
    if list_tasks:
        _list_tasks(format)
        return
    if model is None:
        raise UsageError("no run: give its directory, or --list-tasks")
    if tasks and text:
        raise UsageError("a task and --text are two things to measure; give one")
    for flag, value in (("--batch", batch), ("--examples", examples), ("--beams", beams)):
        if value < 1:
            raise ConfigurationError(f"{flag} is {value}; 1 or more is accepted")

    from scalecli.runs.evaluation import (
        Evaluation,
        default_place,
        evaluate_text,
        name_of_text,
        objective_of,
        open_checkpoints,
    )

    cache = the_cache_directory(cache_directory)
    measured_at = open_checkpoints(model, checkpoints, cache)
    last = measured_at[-1]
    if not tasks and not text:
        tasks = _own_tasks(last)
    lacking = [task.name for task in tasks if not task.has(split)]
    tasks = tuple(task for task in tasks if task.has(split))
    if lacking:
        click.echo(f"without a {split} split, and left out: {', '.join(lacking)}", err=True)
    if lacking and not tasks:
        raise ConfigurationError(f"none of the tasks has a {split} split")

    from scalecli.cli.progress import ConsoleReporter
    from scalecli.runs.task_evaluation import evaluate_tasks, name_of_tasks
    from scalecli.training.places import place_at

    measured = name_of_tasks(tasks, split, rank_classification, beams) if tasks else name_of_text(text)
    job = Evaluation(
        checkpoints=measured_at,
        batch=batch,
        place=place_at(run, cache) if run else default_place(measured_at, measured),
        cache_directory=cache,
        command_line=this_command_line(),
        devices=devices_asked_for(device_values),
    )
    with ConsoleReporter() as reporter:
        last.place.report = reporter.fetched
        if tasks:
            found = evaluate_tasks(job, tasks, split, reporter.examples, rank_classification, beams)
            manifest = found.manifest
        else:
            manifest = evaluate_text(job, text, objective_of(last), examples, reporter)
    for warning in manifest.warnings:
        click.echo(warning, err=True)
    if tasks:
        print_table(*_table_of_tasks(found), format)
    else:
        rows = [
            {"result": key, "step": step, "value": value}
            for step, of in manifest.results.items()
            for key, value in of.items()
        ]
        columns = [Column("result", "Result"), Column("value", "Value", "float")]
        print_table(rows, columns if len(measured_at) == 1 else [Column("step", "Step"), *columns], format)
    steps = f"step {last.step:,}" if len(measured_at) == 1 else f"{len(measured_at)} checkpoints"
    click.echo(f"{last.address} at {steps}: results in {job.place.address}", err=True)


def _table_of_tasks(found: Any) -> tuple[list[dict[str, Any]], list[Column]]:
    """A row for each score and each average, at the one step or that of the best mean over tasks, with its interval.

    Of several checkpoints also what each task's own best step gave, and the averages of those: the papers report the
    peak of the validation.
    """
    step = found.manifest.best.step if found.manifest.best else max(found.manifest.results)
    results, peaks = found.manifest.results[step], found.peaks()
    rows = []
    for name in peaks:
        task = name.partition("/")[0]
        peak, peak_step = peaks[name]
        rows.append(
            {
                **{"result": name, "value": results[name], "baseline": found.baseline.get(name)},
                **{"low": results.get(f"{name}/low"), "high": results.get(f"{name}/high")},
                **{"examples": results.get(f"{task}/examples"), "step": step, "peak": peak, "peak_step": peak_step},
            }
        )
    columns = [
        Column("result", "Result"),
        Column("value", "Value", "float"),
        Column("low", "Low (95%)", "float"),
        Column("high", "High (95%)", "float"),
        Column("examples", "Examples"),
        Column("baseline", "Best constant", "float"),
    ]
    if len(found.scores) > 1:
        columns += [Column("step", "Step"), Column("peak", "Peak", "float"), Column("peak_step", "Step of the peak")]
    return rows, columns


def _own_tasks(trained: Trained) -> tuple[Task, ...]:
    from scalecli.data.tasks import Task

    data = trained.manifest.data
    if data.task is not None:
        return (Task.from_dict(data.task, None, source=f"{trained.address}: data.task"),)
    if data.tasks is not None:
        return tuple(
            Task.from_dict(values, None, source=f"{trained.address}: data.tasks.{name}")
            for name, values in data.tasks.items()
        )
    raise UsageError(f"{trained.address} was not finetuned: give --tasks NAMES, --task FILE, or --text PATH")


def _list_tasks(format: str) -> None:
    from scalecli.data.registry import ALL, all_tasks, groups

    group_of = {name: group for group, names in groups().items() if group != ALL for name in names}
    rows = [
        {
            "task": task.name,
            "group": group_of.get(task.name, ""),
            "dataset": task.dataset,
            "metrics": ", ".join(task.metrics),
            "examples": task.examples,
            "lengths": f"{task.inputs_length}/{task.targets_length}",
            "labels": ", ".join(task.labels or ()),
        }
        for task in all_tasks().values()
    ]
    columns = [
        Column("task", "Task"),
        Column("group", "Group"),
        Column("dataset", "TensorFlow dataset"),
        Column("metrics", "Metrics"),
        Column("examples", "Training examples"),
        Column("lengths", "Inputs/targets"),
        Column("labels", "Labels"),
    ]
    print_table(rows, columns, format)
