"""The options that describe a task, for `finetune` and `eval`: a YAML file, or each of its keys as a flag."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

_KEYS = (
    "name",
    "train",
    "validation",
    "task_format",
    "columns",
    "input",
    "target",
    "labels",
    "metrics",
    "task_inputs_length",
    "task_targets_length",
)


def task_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--task FILE` and the flags; they arrive as `task`, a `Task` or None when there are none of them.

    The decorated function's errors are those of `load_task`; a file and flags together are a usage error.
    """

    @functools.wraps(function)
    def collected(*arguments: Any, task: str | None, **options: Any) -> Any:
        flags = {key: options.pop(key) for key in _KEYS}
        return function(*arguments, task=_task(task, {key: value for key, value in flags.items() if value}), **options)

    for option in reversed(
        (
            click.option("--task", metavar="FILE", help="A task described in YAML."),
            click.option("--name", help="The task's name."),
            click.option("--train", multiple=True, metavar="PATH", help="Training examples: TSV, CSV or JSONL."),
            click.option("--validation", multiple=True, metavar="PATH", help="Validation examples."),
            click.option("--task-format", type=click.Choice(("tsv", "csv", "jsonl")), help="[default: by the suffix]"),
            click.option("--columns", metavar="A,B,...", help="Names of the columns of files without a header."),
            click.option("--input", metavar="TEMPLATE|A,B", help="Such as 'sst2 sentence: {sentence}', or columns."),
            click.option("--target", metavar="COLUMN", help="The column to predict."),
            click.option("--labels", metavar="A,B,...", help="Texts of the raw values 0, 1 ..., or raw=text of each."),
            click.option("--metrics", metavar="A,B,...", help="Such as accuracy,f1."),
            click.option("--task-inputs-length", type=int, metavar="N", help="Tokens of an input."),
            click.option("--task-targets-length", type=int, metavar="N", help="Tokens of a target."),
        )
    ):
        collected = option(collected)
    return collected


def _task(file: str | None, flags: dict[str, Any]) -> Any:
    from scalecli.data.tasks import Task, load_task
    from scalecli.errors import UsageError

    if file is not None:
        if flags:
            raise UsageError(f"--task {file} describes the task; leave out {', '.join(map(_flag, flags))}")
        return load_task(file)
    if not flags:
        return None
    for key in ("columns", "labels", "metrics"):
        if key in flags:
            flags[key] = [part.strip() for part in flags[key].split(",")]
    renamed = {key.removeprefix("task_"): value for key, value in flags.items()}
    return Task.from_flags(**renamed)


def _flag(key: str) -> str:
    return "--" + key.replace("_", "-")
