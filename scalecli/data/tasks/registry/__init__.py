"""The tasks that come with the package: the YAML files beside this one, each a group of tasks in the order of its file.

An entry has the keys of a task file (`scalecli.data.tasks.task`) but its name, which is its key; `lengths` holds for
all of a file. Its files are the original ones, relative to the data directory that `find_tasks` is given. Beside the
group's `tasks` a file may have `others`, known by name only, and `diagnostics`, which come with the group's test split.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from scalecli.data.tasks.task import Task, load_task
from scalecli.errors import ConfigurationError, nearest
from scalecli.strict import load_yaml

GROUPS = ("glue", "superglue", "squad", "rainbow", "generation", "classification")
ALL = "all"
_FOLDER = Path(__file__).parent


@functools.cache
def groups() -> Mapping[str, tuple[str, ...]]:
    """The names of each group's tasks; "all" is every group's."""
    by_group = {group: tuple(_read(group)["tasks"]) for group in GROUPS}
    return {**by_group, ALL: tuple(name for names in by_group.values() for name in names)}


@functools.cache
def diagnostics() -> Mapping[str, tuple[str, ...]]:
    """The names of each group's diagnostic test sets."""
    return {group: tuple(_read(group).get("diagnostics", ())) for group in GROUPS}


@functools.cache
def all_tasks() -> Mapping[str, Task]:
    """Every task of the package by name, those outside of the groups among them."""
    tasks: dict[str, Task] = {}
    for group in GROUPS:
        content = _read(group)
        entries = {**content["tasks"], **content.get("others", {}), **content.get("diagnostics", {})}
        for name, entry in entries.items():
            values = {"name": name, "lengths": content["lengths"], **entry}
            tasks[name] = Task.from_dict(values, folder=None, source=f"{_FOLDER / group}.yaml: {name}")
    return tasks


def find_tasks(names: Sequence[str], data_dir: str | None = None, split: str | None = None) -> list[Task]:
    """The tasks of names, each a task, a group, or the path of a task file; a task comes once.

    Data is looked for in `data_dir`: original files, or TensorFlow datasets. For the split "test" a group comes with
    its diagnostic sets, where their data is there. Raises ConfigurationError for a name that isn't known, or that two
    tasks have; MissingError for a task file that can't be read.
    """
    by_name: dict[str, Task] = {}
    for name in names:
        tasks = _named(name)
        if split == "test":
            tasks += _diagnostics(name, data_dir)
        for task in tasks:
            located = replace(task, data_dir=data_dir) if data_dir else task
            if by_name.setdefault(task.name, located) != located:
                raise ConfigurationError(f"{name}: a second task of the name {task.name!r}; change one of them")
    return list(by_name.values())


def _named(name: str) -> list[Task]:
    if name in groups():
        return [all_tasks()[task] for task in groups()[name]]
    if name in all_tasks():
        return [all_tasks()[name]]
    if name.endswith((".yaml", ".yml")):
        return [load_task(name)]
    known = (*groups(), *all_tasks())
    hint = nearest(name, known) or f"; it has the groups {', '.join(groups())}"
    raise ConfigurationError(f"task {name!r}: none of that name, nor a task file (NAME.yaml){hint}")


def _diagnostics(name: str, data_dir: str | None) -> list[Task]:
    from scalecli.data.tasks.examples import is_there  # which needs NumPy

    names = [task for group in GROUPS if name in (group, ALL) for task in diagnostics()[group]]
    tasks = [replace(all_tasks()[task], data_dir=data_dir) for task in names]
    return [task for task in tasks if is_there(task, "test")]


@functools.cache
def _read(group: str) -> dict[str, Any]:
    return load_yaml(_FOLDER / f"{group}.yaml")
