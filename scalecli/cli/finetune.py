"""`scalecli finetune`: a pretrained run on a task or a mixture of tasks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecli.cli.options.completion import complete_runs
from scalecli.cli.options.devices import devices_asked_for
from scalecli.cli.options.files import this_command_line
from scalecli.cli.options.groups import Command, number_option, option_group
from scalecli.cli.options.model import code_option
from scalecli.cli.options.tasks import mixing_options, task_options
from scalecli.cli.options.training import output_options, recipe_and_saving, recipe_options
from scalecli.cli.output.terminal import say
from scalecli.cli.output.training import LENGTHS_NOTE, print_plan, print_results
from scalecli.errors import UsageError

if TYPE_CHECKING:
    from scalecli.data.tasks.mixing import Mixing
    from scalecli.data.tasks.task import Task


@click.command("finetune", cls=Command)
@click.argument("model", metavar="RUN", shell_complete=complete_runs)
@code_option
@task_options
@mixing_options
@option_group(
    click.option(
        "--packed/--padded",
        default=False,
        show_default=True,
        help="Put several short examples into one row of a batch, or pad each to a row of its own.",
    ),
    number_option("--evaluation-batch", 64, "Examples to decode at once."),
    heading="Tasks",
)
@recipe_options(steps=1000, batch=128, schedule="constant", learning_rate=1e-3, warmup=0, dropout=0.1)
@option_group(
    click.option(
        "--step", type=int, metavar="STEP", help="Start from RUN's checkpoint of this step. [default: the last]"
    ),
    heading="Checkpoints",
)
@output_options("Directory of the new run, here or gs://BUCKET/FOLDER. [default: RUN-TASKS]")
def command(
    model: str,
    run: str | None,
    step: int | None,
    tasks: tuple[Task, ...],
    tasks_name: str | None,
    mixing: Mixing,
    packed: bool,
    show_examples: int | None,
    evaluation_batch: int,
    peak_flops: float | None,
    dry_run: bool,
    cache_directory: Path,
    format: str,
    **recipe_values: Any,
) -> None:
    """Finetune RUN on a task or a mixture of tasks, text to text.

    RUN is a run's directory or manifest, or the folder of one of its checkpoints, here or in a bucket. Tasks are those
    of the papers by name (--tasks glue,superglue,squad --data-dir DIR), a YAML file (--task), or described by options.
    Schedule, dropout and batch are by default those of the papers. If a run stops, the same command continues it.
    """
    from scalecli.runs.tasks.finetuning import Finetuning, example_batches
    from scalecli.runs.trained import open_trained
    from scalecli.runs.training import carry_out
    from scalecli.storage.run_storage import open_storage

    if not tasks or tasks_name is None:
        raise UsageError(
            "no task: give --tasks NAMES, --task FILE, or describe it with --train, --validation, --input and --target"
        )
    parent = open_trained(model, cache_directory, step)
    recipe, saving = recipe_and_saving(recipe_values)
    devices = devices_asked_for(recipe_values, parent.manifest.architecture, parent.shape)
    job = Finetuning(
        parent=parent,
        name=tasks_name,
        tasks=tasks,
        mixing=mixing,
        packed=packed,
        recipe=recipe,
        saving=saving,
        evaluation_batch=evaluation_batch,
        storage=open_storage(run, cache_directory)
        if run
        else parent.storage.at(f"../{parent.storage.name}-{tasks_name}"),
        cache_directory=cache_directory,
        command_line=this_command_line(),
        peak_flops=peak_flops,
        devices=devices,
    )
    if show_examples is not None:
        from scalecli.cli.output.examples import print_examples

        batches, vocabulary, names = example_batches(job)
        print_examples(batches, vocabulary, show_examples, names)
        return
    if dry_run:
        from scalecli.runs.tasks.examples import read_tasks

        read_tasks(job.measured_on, "validation")
        packing = "packed" if job.packs else "padded"
        if not job.packs:
            say(f"note: {LENGTHS_NOTE}")
        print_plan(
            parent.spec,
            parent.shape,
            recipe,
            *job.lengths(),
            job.storage,
            devices,
            format,
            data=f"{tasks_name}, {packing}",
            rates=dict(job.rates),
            vocabulary=f"of {parent.address}, step {parent.step}",
        )
        return
    from scalecli.cli.output.progress import ConsoleReporter

    with ConsoleReporter() as reporter:
        manifest = carry_out(job, reporter)
    print_results(manifest, job.storage, format)
