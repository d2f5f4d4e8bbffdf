"""`scalecli eval`: a run's scores on a task, or its perplexity on text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalecli.cli.output import Column, format_option, print_table
from scalecli.cli.task_options import task_options
from scalecli.cli.training_options import cache_directory as the_cache_directory
from scalecli.cli.training_options import cache_option, run_option, this_command_line
from scalecli.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from scalecli.data.tasks import Task
    from scalecli.runs.directory import Trained


@click.command("eval")
@click.argument("model", metavar="RUN")
@run_option("Where results go. [default: RUN/eval/TASK-SPLIT-STEP; text-HASH-STEP for text]")
@click.option("--step", type=int, help="The checkpoint to evaluate. [default: the last]")
@task_options
@click.option("--split", type=click.Choice(("train", "validation")), default="validation", show_default=True)
@click.option("--text", multiple=True, metavar="PATH", help="Text whose perplexity to measure, instead of a task.")
@click.option("--examples", type=int, default=4096, show_default=True, help="Segments of text, at most.")
@click.option("--batch", type=int, default=64, show_default=True, help="Examples at once.")
@cache_option
@format_option
def command(
    model: str,
    run: Path | None,
    step: int | None,
    task: Task | None,
    split: str,
    text: tuple[str, ...],
    examples: int,
    batch: int,
    cache_directory: Path | None,
    format: str,
) -> None:
    """Score RUN on a task, or measure its perplexity on text.

    RUN is a run's directory or manifest, or the folder of one of its checkpoints. A task (--task FILE, or its flags) is
    decoded greedily; predictions.jsonl, the scores and what they were measured on go into a directory of their own. A
    finetuned run is scored on its own task when neither a task nor --text is given.
    """
    from scalecli.runs.directory import open_trained

    if task and text:
        raise UsageError("a task and --text are two things to measure; give one")
    for flag, value in (("--batch", batch), ("--examples", examples)):
        if value < 1:
            raise ConfigurationError(f"{flag} is {value}; 1 or more is accepted")
    trained = open_trained(model, step)
    if task is None and not text:
        task = _own_task(trained)

    from scalecli.runs.evaluation import Evaluation, default_directory, evaluate_task, evaluate_text, objective_of

    job = Evaluation(
        trained=trained,
        batch=batch,
        directory=run or default_directory(trained, task, split, text),
        cache_directory=the_cache_directory(cache_directory),
        command_line=this_command_line(),
    )
    from scalecli.cli.progress import ConsoleReporter

    baseline: dict[str, float] = {}
    with ConsoleReporter() as reporter:
        if task:
            manifest, scores = evaluate_task(job, task, split, reporter.examples)
            baseline = scores.baseline
        else:
            manifest = evaluate_text(job, text, objective_of(trained), examples, reporter)
    results = manifest.results[trained.step]
    rows = [{"result": key, "value": value, "baseline": baseline.get(key)} for key, value in results.items()]
    columns = [Column("result", "Result"), Column("value", "Value", "float")]
    if task:
        columns.append(Column("baseline", "Best constant", "float"))
    print_table(rows, columns, format)
    click.echo(f"{trained.directory} at step {trained.step:,}: results in {job.directory}", err=True)


def _own_task(trained: Trained) -> Task:
    from scalecli.data.tasks import Task

    described = trained.manifest.data.task
    if described is None:
        raise UsageError(f"{trained.directory} was not finetuned: give --task FILE, or --text PATH")
    return Task.from_dict(described, source=f"{trained.directory}: data.task")
