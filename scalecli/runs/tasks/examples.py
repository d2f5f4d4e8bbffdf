"""The examples of tasks for a run, and what a reader of its manifest should know about them."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from scalecli.data.sources import Remarks
from scalecli.data.tasks.examples import iterate_examples, split_version
from scalecli.data.tasks.forms import REMARKS
from scalecli.data.tasks.task import Example, Task


@dataclass(frozen=True)
class TaskData:
    """The examples of a split by task; `warnings` name what was left out or replaced."""

    examples: dict[str, list[Example]]
    warnings: list[str]


def read_tasks(tasks: Sequence[Task], split: str) -> TaskData:
    """Reads a split of tasks.

    Raises:
        ScalecliError: of the kind that says what is wrong with which file (see `errors`).
    """
    examples, warnings = {}, []
    for task in tasks:
        skipped: Counter[str] = Counter()
        remarks = Remarks()
        examples[task.name] = list(iterate_examples(task, split, skipped, remarks))
        warnings += [f"{task.name}, {split}: {count:,} rows left out: {why}" for why, count in skipped.items()]
        warnings += [f"{task.name}, {split}: {line}" for line in remarks.lines()]
    return TaskData(examples, warnings)


def remarks(tasks: Sequence[Task]) -> list[str]:
    """What a reader of these tasks' scores should know of their form, a line each."""
    return [f"{task.name}: {REMARKS[task.form]}" for task in tasks if task.form in REMARKS]


def task_identity(tasks: Sequence[Task], splits: Sequence[str]) -> str:
    """A hash of what these splits of tasks are read from, the version of the data. Raises MissingError."""
    versions = {task.name: {split: split_version(task, split) for split in splits if task.has(split)} for task in tasks}
    return hashlib.sha256(json.dumps(versions, sort_keys=True).encode()).hexdigest()


def described(tasks: Sequence[Task]) -> dict[str, Any]:
    """The tasks as `Data` keeps them: `task` for one, `tasks` by name for several."""
    if len(tasks) == 1:
        return {"task": tasks[0].to_dict(), "tasks": None}
    return {"task": None, "tasks": {task.name: task.to_dict() for task in tasks}}
