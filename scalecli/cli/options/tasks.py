"""The options that say which tasks, by name, as a YAML file or described by options, and how often each is drawn."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click

from scalecli.cli.options.completion import complete_tasks
from scalecli.cli.options.groups import number_option, option_group
from scalecli.data.tasks.mixing import CAP, Mixing
from scalecli.errors import UsageError

DESCRIPTION = (
    "name",
    "train",
    "validation",
    "task_format",
    "columns",
    "input",
    "target",
    "labels",
    "skip_labels",
    "metrics",
    "task_inputs_length",
    "task_targets_length",
)


def _collect(options: dict[str, Any]) -> None:
    flags = {key: options.pop(key) for key in DESCRIPTION}
    data_dir = options.pop("data_dir")
    options["tasks"], options["tasks_name"] = _tasks(
        options.pop("tasks"),
        options.pop("task"),
        None if options.get("images") else data_dir,  # it may be the images' folder, too
        options.get("split"),
        {key: value for key, value in flags.items() if value},
    )


# They arrive as `tasks`, a tuple of `Task`, empty without any, and as `tasks_name`, what they are called together.
task_options = option_group(
    click.option(
        "--tasks",
        metavar="A,B,...",
        shell_complete=complete_tasks,
        help="Tasks or groups of tasks by name (scalecli eval --list-tasks), or task files.",
    ),
    click.option(
        "--data-dir",
        metavar="DIR",
        help="Where the original files or the TensorFlow datasets of --tasks are: a folder, URL or bucket.",
    ),
    click.option("--task", metavar="FILE", help="A YAML file that describes a task."),
    option_group(
        click.option("--name", help="Name of the task that these options describe."),
        click.option(
            "--train",
            multiple=True,
            metavar="PATH",
            help="File of training examples: TSV, CSV, JSON, Parquet or Arrow; may be repeated.",
        ),
        click.option(
            "--validation", multiple=True, metavar="PATH", help="File of validation examples; may be repeated."
        ),
        click.option(
            "--task-format",
            type=click.Choice(("tsv", "csv", "jsonl")),
            help="Format of the files. [default: by their suffix]",
        ),
        click.option("--columns", metavar="A,B,...", help="Names of the columns, for files without a header."),
        click.option(
            "--input", metavar="TEMPLATE|A,B", help="Text of an input, such as 'sst2 sentence: {sentence}', or columns."
        ),
        click.option("--target", metavar="COLUMN", help="Column to predict."),
        click.option("--labels", metavar="A,B,...", help="Texts for the raw values 0, 1 ..., or raw=text for each."),
        click.option("--skip-labels", metavar="A,B,...", help="Leave out rows with these raw values, such as -."),
        click.option("--metrics", metavar="A,B,...", help="Metrics, such as accuracy,f1."),
        click.option("--task-inputs-length", type=int, metavar="N", help="Tokens in an input."),
        click.option("--task-targets-length", type=int, metavar="N", help="Tokens in a target."),
        heading="A task described by options",
    ),
    heading="Tasks",
    collect=_collect,
)


def _tasks(
    names: str | None, file: str | None, data_dir: str | None, split: str | None, flags: dict[str, Any]
) -> tuple[tuple[Any, ...], str | None]:
    from scalecli.data.tasks.registry import find_tasks
    from scalecli.data.tasks.task import Task, load_task
    from scalecli.storage.files import is_remote

    if names is not None and file is not None:
        raise UsageError("--tasks and --task are two ways to say it; --tasks takes names and task files together")
    given = f"--tasks {names}" if names is not None else f"--task {file}"
    if (names or file) and flags:
        raise UsageError(f"{given} describes the task; leave out {', '.join(map(_flag, flags))}")
    if names is not None:
        listed = [name.strip() for name in names.split(",") if name.strip()]
        if data_dir is not None and not is_remote(data_dir):
            data_dir = os.path.abspath(os.path.expanduser(data_dir))  # the manifest is read from elsewhere, too
        tasks = tuple(find_tasks(listed, data_dir, split))
        if not tasks:
            raise UsageError("--tasks names none")
        return tasks, tasks[0].name if len(tasks) == 1 else "-".join(Path(name).stem for name in listed)
    if data_dir is not None:
        raise UsageError("--data-dir goes with --tasks; a task file and its flags name their own files")
    if file is not None:
        task = load_task(file)
    elif flags:
        for key in ("columns", "labels", "skip_labels", "metrics"):
            if key in flags:
                flags[key] = [part.strip() for part in flags[key].split(",")]
        task = Task.from_flags(**{key.removeprefix("task_"): value for key, value in flags.items()})
    else:
        return (), None
    return (task,), task.name


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")


def _collect_mixing(options: dict[str, Any]) -> None:
    mixing, cap, temperature = options["mixing"], options.pop("mixing_cap"), options.pop("temperature")
    weights = None if mixing in ("examples", "equal") else _weights(mixing)
    options["mixing"] = Mixing(weights, cap, math.inf if mixing == "equal" else temperature)


# They arrive as `mixing`, a `Mixing`.
mixing_options = option_group(
    click.option(
        "--mixing",
        default="examples",
        show_default=True,
        metavar="examples|equal|TASK=WEIGHT,...",
        help="How often each task is drawn: in proportion to its examples, equally, or by weights.",
    ),
    number_option(
        "--mixing-cap", CAP, "Count at most N examples of each task, so that large ones do not crowd out small ones."
    ),
    number_option(
        "--temperature", 1.0, "Raise the rates to the power 1/T: above 1, small tasks are drawn more often.", "T"
    ),
    heading="Tasks",
    collect=_collect_mixing,
)


def _weights(text: str) -> dict[str, float]:
    weights = {}
    for part in text.split(","):
        task, _, number = part.partition("=")
        try:
            weights[task.strip()] = float(number)
        except ValueError:
            raise UsageError(
                f"--mixing: {part.strip()!r}; accepted: examples, equal, or weights such as cola=1,sst2=2.5"
            ) from None
    return weights
