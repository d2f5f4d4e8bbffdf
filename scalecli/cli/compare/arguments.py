"""What the arguments of `scalecli compare` name: published models, tables and papers, and runs."""

from __future__ import annotations

import contextlib
import glob
import io
import os
from collections.abc import Iterable

import click
from click.shell_completion import CompletionItem

from scalecli.analysis.papers.published import PublishedModel, find_published, published_models, published_names
from scalecli.analysis.rows.comparison import Row, column_keys
from scalecli.analysis.rows.sources import row_of_published, row_of_run, with_assumed_data
from scalecli.cli.options.completion import listed
from scalecli.cli.output.terminal import say
from scalecli.costs import Convention
from scalecli.errors import ConfigurationError, MissingError, ScalecliError, nearest
from scalecli.storage.files import is_remote, locate, one_line_errors
from scalecli.tables import first_few

PUBLISHED_PREFIX = "published:"


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list:
    """Shell completion of MODELS: published models and files."""
    names = [CompletionItem(name) for name in published_models() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


def complete_published(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion of --published: papers, tables and models."""
    return [name for name in published_names() if name.startswith(incomplete)]


def complete_columns(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion of columns, one after the other: the fixed ones, and the results of the runs that are named."""
    named = (*(ctx.params.get("models") or ()), *ctx.args)  # click stops at the option, which has no value yet
    models = [model for model in named if not is_remote(model)]
    rows: list[Row] = []
    with contextlib.suppress(ScalecliError), contextlib.redirect_stderr(io.StringIO()):  # what is left out is not said
        rows = rows_of(resolved(models), "forward") if models else []
    return listed(incomplete, [*column_keys(rows), "pareto"])


def resolved(models: Iterable[str]) -> list[PublishedModel | str]:
    """Returns the published rows and the paths of runs that the arguments name, in their order.

    Raises:
        MissingError: nothing published has such a name, or nothing is where a path or a glob points.
    """
    models_and_paths: list[PublishedModel | str] = []
    for model in models:
        name = model.lower()
        if name.startswith(PUBLISHED_PREFIX):
            models_and_paths += find_published(name.removeprefix(PUBLISHED_PREFIX))
        elif name in published_models():
            models_and_paths.append(published_models()[name])
        else:
            models_and_paths += _paths(model)
    return models_and_paths


def rows_of(models: Iterable[PublishedModel | str], convention: Convention) -> list[Row]:
    """Makes the rows; what holds no manifest that this version can use is left out, and said once for each reason.

    Raises:
        ConfigurationError: nothing is left, and the last manifest is not valid.
        MissingError: nothing is left, and the last directory or remote file is not there or has no manifest.
    """
    rows: list[Row] = []
    damage: list[ScalecliError] = []
    for model in models:
        try:
            rows.append(row_of_published(model) if isinstance(model, PublishedModel) else row_of_run(model, convention))
        except (ConfigurationError, MissingError) as error:
            damage.append(error)
    paths_by_reason: dict[str, list[str]] = {}
    for line in dict.fromkeys(map(str, damage if rows else damage[:-1])):
        path, _, reason = line.partition(": ")
        paths_by_reason.setdefault(reason, []).append(path)
    for reason, paths in paths_by_reason.items():
        say(f"warning: left out: {first_few(paths, 1)}: {reason}")
    if not rows:
        raise damage[-1]
    return with_assumed_data(rows)


def _paths(model: str) -> list[str]:
    """Returns the manifests or directories that an argument names: itself if it exists, else what its glob matches."""
    if is_remote(model):
        if not glob.has_magic(model):
            return [model]
        with one_line_errors(model):
            file_system, pattern = locate(model)
            paths = [file_system.unstrip_protocol(path) for path in sorted(file_system.glob(pattern))]
    else:
        paths = [model] if os.path.exists(model) else sorted(glob.glob(model, recursive=True))
    if not paths:
        hint = nearest(model.lower(), published_models())
        raise MissingError(f"{model}: neither a published model nor a run manifest or its directory{hint}")
    return paths
