"""`scalecli compare --list DIR`: the runs in a tree of directories."""

from __future__ import annotations

import os

import click

from scalecli.cli.compare.arguments import rows_of
from scalecli.cli.output.formats import print_tables
from scalecli.cli.output.terminal import say
from scalecli.errors import MissingError
from scalecli.tables import Column, Table

_COLUMNS = (
    Column("path", "Path"),
    Column("kind", "Kind"),
    Column("status", "Status"),
    Column("architecture", "Architecture"),
    Column("parameters", "Parameters", "count"),
    Column("steps", "Steps", "float"),
    Column("upstream", "Upstream", "float"),
    Column("downstream", "Downstream", "float"),
    Column("created", "Created"),
)
list_option = click.option(
    "--list",
    "list_directory",
    envvar="SCALECLI_COMPARE_LIST",  # the argument can't be called list
    type=click.Path(),
    metavar="DIR",
    help="List the runs in a directory and below it, and compare nothing.",
)


def print_runs(directory: str, format: str) -> None:
    """Prints a line for each run; a manifest that this version can't use is reported and left out.

    Raises:
        MissingError: there is no such directory, or no run in it.
        ConfigurationError: no run can be used, and the last manifest is not valid.
    """
    from scalecli.analysis.rows.run_search import find_runs

    manifests, problems = find_runs(directory)
    for problem in problems:
        say(f"warning: left out: {problem}")
    if not manifests:
        raise MissingError(f"{directory}: no run in this directory or below it")
    cells = []
    for row in rows_of(manifests, "forward"):
        assert row.run is not None
        manifest = row.run.manifest
        cells.append(
            {
                "path": os.path.dirname(row.run.file),
                "kind": manifest.kind,
                "status": manifest.status,
                "architecture": row.architecture,
                "parameters": row.parameters,
                "steps": manifest.steps,
                "upstream": row.upstream,
                "downstream": row.downstream,
                "created": manifest.created,
            }
        )
    print_tables([Table("runs", "Runs", cells, _COLUMNS)], format)
