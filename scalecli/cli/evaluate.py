"""`scalecli eval`: a run's scores on tasks, its perplexity on text, or its few-shot accuracy on images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecli.cli.options.completion import complete_runs
from scalecli.cli.options.devices import device_options, devices_asked_for
from scalecli.cli.options.files import cache_option, run_option, text_field_option, this_command_line
from scalecli.cli.options.groups import Command, number_option, option_group
from scalecli.cli.options.images import IMAGES_HELP
from scalecli.cli.options.model import code_option
from scalecli.cli.options.tasks import task_options
from scalecli.cli.output.evaluation import print_tasks, table_of_results, table_of_tasks
from scalecli.cli.output.formats import format_option, print_table
from scalecli.cli.output.terminal import say
from scalecli.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from scalecli.data.tasks.task import Task
    from scalecli.runs.trained import Trained


_AT_LEAST_1 = click.IntRange(1, 2**24)


@click.command("eval", cls=Command)
@click.argument("model", metavar="RUN", required=False, shell_complete=complete_runs)
@code_option
@task_options
@option_group(
    click.option("--list-tasks", is_flag=True, help="List the tasks that --tasks knows, and their groups."),
    click.option(
        "--split",
        type=click.Choice(("train", "validation", "test")),
        help="Split to evaluate on. [default: validation; of images the first of validation, val and test that exists]",
    ),
    click.option(
        "--rank-classification",
        is_flag=True,
        help="For tasks with labels: take the likeliest label instead of decoding text.",
    ),
    click.option("--beams", type=_AT_LEAST_1, default=1, show_default=True, metavar="N", help="Beams; 1 is greedy."),
    heading="Tasks",
)
@option_group(
    click.option(
        "--text", multiple=True, metavar="PATH", help="Measure the perplexity of this text instead of a task's scores."
    ),
    text_field_option,
    click.option(
        "--examples",
        type=_AT_LEAST_1,
        default=4096,
        show_default=True,
        metavar="N",
        help="Measure at most N segments of text.",
    ),
    heading="Text",
)
@option_group(
    click.option(
        "--few-shot",
        type=int,
        metavar="N",
        help="Measure how well features of --images tell classes apart, by a ridge regression on N images of each.",
    ),
    click.option("--images", metavar="DIR|NAME", help=IMAGES_HELP),
    number_option("--seeds", 5, "Draw the images of --few-shot N times, and average."),
    heading="Images",
)
@option_group(
    click.option(
        "--checkpoints",
        "--step",
        metavar="all|best|last|STEP",
        help="Checkpoints to evaluate. [default: last]",
    ),
    heading="Checkpoints",
)
@option_group(
    click.option(
        "--batch", type=_AT_LEAST_1, default=64, show_default=True, metavar="N", help="Examples to compute at once."
    ),
    heading="Devices",
)
@device_options
@run_option("Directory for the results. [default: RUN/eval/TASK-SPLIT-STEP, text-HASH-STEP or N-shot-NAME-HASH-STEP]")
@cache_option
@format_option
@click.pass_context
def command(
    ctx: click.Context,
    model: str | None,
    run: str | None,
    checkpoints: str | None,
    tasks: tuple[Task, ...],
    tasks_name: str | None,
    list_tasks: bool,
    split: str | None,
    rank_classification: bool,
    beams: int,
    text: tuple[str, ...],
    text_field: str | None,
    examples: int,
    few_shot: int | None,
    images: str | None,
    seeds: int,
    batch: int,
    cache_directory: Path,
    format: str,
    **device_values: Any,
) -> None:
    """Score RUN on tasks, measure its perplexity on text, or its few-shot accuracy on images.

    RUN is a run's directory or manifest, or the folder of one of its checkpoints. Tasks are those of the papers by name
    (--tasks glue,superglue,squad --data-dir DIR), a YAML file (--task), or described by options; without tasks and
    --text, a finetuned run is scored on its own. Texts are decoded greedily, or by beam search (--beams).

    Predictions and scores, with their 95% intervals, go into a directory of their own. For the test sets of GLUE and
    SuperGLUE, which have no labels, the predictions are written as the files to hand in.

    --few-shot N --images DIR draws N training images of each class, fits a ridge regression on a vision transformer's
    frozen features of them, and gives its accuracy on the held-out images, with the 95% interval over several draws.
    """
    if list_tasks:
        print_tasks(format)
        return
    if model is None:
        raise UsageError("no run: give its directory, or --list-tasks")
    if sum(map(bool, (tasks, text, images))) > 1:
        raise UsageError("tasks, --text and --images are different things to measure; give one")
    if text_field and not text:
        raise UsageError("--text-field goes with --text")
    if (few_shot is None) != (images is None):
        raise UsageError("--few-shot N and --images go together")

    from scalecli.cli.output.progress import ConsoleReporter
    from scalecli.runs.evaluation import Evaluation, default_storage, evaluate, open_checkpoints
    from scalecli.storage.run_storage import open_storage

    measured_at = open_checkpoints(model, checkpoints, cache_directory)
    last = measured_at[-1]
    devices = devices_asked_for(device_values, last.manifest.architecture, last.shape)

    def job(measured: str) -> Evaluation:
        storage = open_storage(run, cache_directory) if run else default_storage(measured_at, measured)
        return Evaluation(measured_at, batch, storage, cache_directory, this_command_line(), devices)

    with ConsoleReporter() as reporter:
        last.storage.report = reporter.fetched
        if images is not None and few_shot is not None:
            from scalecli.data.images.source import ImageSource
            from scalecli.evaluation.few_shot import FewShot
            from scalecli.runs.images.evaluation import FewShotAccuracy, name_of_images, open_images

            asked, source = FewShot(few_shot, seeds), ImageSource(images, ctx.params["data_dir"], held_out=split)
            opened = open_images(last, source, cache_directory, reporter)
            this = job(name_of_images(source, opened, asked))
            manifest, _ = evaluate(this, FewShotAccuracy(source, opened, asked), reporter)
            table = table_of_results(manifest)
        elif text:
            from scalecli.runs.text.evaluation import TextPerplexity, name_of_text, objective_of

            this = job(name_of_text(text, text_field))
            manifest, _ = evaluate(this, TextPerplexity(text, objective_of(last), examples, text_field), reporter)
            table = table_of_results(manifest)
        else:
            from scalecli.runs.tasks.evaluation import TaskPredictions, name_of_tasks

            evaluated_split = split or "validation"
            scored = _with_split(tasks or _own_tasks(last), evaluated_split)
            this = job(name_of_tasks(scored, evaluated_split, rank_classification, beams))
            measure = TaskPredictions(scored, evaluated_split, rank_classification, beams)
            manifest, scores = evaluate(this, measure, reporter)
            table = table_of_tasks(manifest, scores)
    for warning in manifest.warnings:
        say(warning)
    print_table("results", *table, format)
    steps = f"step {last.step:,}" if len(measured_at) == 1 else f"{len(measured_at)} checkpoints"
    say(f"{last.address} at {steps}: {manifest.examples_per_s:,.1f} examples/s; results in {this.storage.address}")


def _with_split(tasks: tuple[Task, ...], split: str) -> tuple[Task, ...]:
    """The tasks that have a split; says which have not. Raises ConfigurationError where none has."""
    with_split = tuple(task for task in tasks if task.has(split))
    if lacking := [task.name for task in tasks if not task.has(split)]:
        say(f"without a {split} split, and left out: {', '.join(lacking)}")
    if not with_split:
        raise ConfigurationError(f"none of the tasks has a {split} split")
    return with_split


def _own_tasks(trained: Trained) -> tuple[Task, ...]:
    from scalecli.data.tasks.task import Task
    from scalecli.manifest import ImageData

    data = trained.manifest.data
    if isinstance(data, ImageData):
        raise UsageError(f"{trained.address} was trained on images: give --few-shot N --images DIR")
    if data.task is not None:
        return (Task.from_dict(data.task, None, source=f"{trained.address}: data.task"),)
    if data.tasks is not None:
        return tuple(
            Task.from_dict(values, None, source=f"{trained.address}: data.tasks.{name}")
            for name, values in data.tasks.items()
        )
    raise UsageError(f"{trained.address} was not finetuned: give --tasks NAMES, --task FILE, or --text PATH")
