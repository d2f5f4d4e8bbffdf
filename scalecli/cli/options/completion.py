"""What the shell offers for an argument that is half typed: tasks, studies and runs."""

from __future__ import annotations

import os
from pathlib import Path

import click
from click.shell_completion import CompletionItem


def listed(incomplete: str, names: list[str]) -> list[str]:
    """Completions of the last part of a list such as `cola,ss`, without those that it has already."""
    before, comma, start = incomplete.rpartition(",")
    taken = before.split(",")
    return [f"{before}{comma}{name}" for name in names if name.startswith(start) and name not in taken]


def complete_tasks(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Tasks and groups of tasks that have a name."""
    from scalecli.data.tasks.registry import all_tasks, groups

    return listed(incomplete, [*groups(), *all_tasks()])


def complete_studies(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Studies that come with the package, and files."""
    from scalecli.studies.study import ready_made

    names = [name for name in ready_made() if name.startswith(incomplete)]
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, names)]


def complete_runs(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Runs in the folder that is typed so far, and in runs/ before anything is; else folders."""
    from scalecli.storage.layout import MANIFEST

    folder, start = os.path.split(incomplete)
    folders = [folder] if incomplete else ["", "runs"]
    runs = [
        os.path.join(folder, path.name)
        for folder in folders
        if os.path.isdir(folder or ".")
        for path in sorted(Path(folder or ".").iterdir())
        if path.name.startswith(start) and (path / MANIFEST).is_file()
    ]
    return [CompletionItem(incomplete, type="dir"), *map(CompletionItem, runs)]
