"""`scalecli compare`: runs and published models in one table."""

from __future__ import annotations

import fnmatch
import glob
import os
from collections.abc import Iterable, Sequence

import click

from scalecli.analysis.comparison import (
    Row,
    best_cells,
    column_keys,
    efficient_rows,
    row_of_published,
    row_of_run,
)
from scalecli.analysis.published import PublishedModel, published_models
from scalecli.cli.output import Column, format_option, print_table
from scalecli.costs import BATCHES, Convention
from scalecli.errors import ConfigurationError, MissingError, ScalecliError, UsageError, nearest
from scalecli.files import is_remote, locate, one_line_errors

_PREFIX = "published:"
_COLUMNS = {
    column.key: column
    for column in (
        Column("name", "Name"),
        Column("source", "Source"),
        Column("architecture", "Architecture"),
        Column("parameters", "Parameters", "count"),
        Column("flops", "FLOPs", "flops"),
        Column("flops_convention", "FLOPs convention"),
        Column("steps_per_s", "Steps/s", "float"),
        Column("upstream", "Upstream", "float"),
        Column("downstream", "Downstream", "float"),
        Column("pareto", "Pareto"),
    )
}
_DEFAULT_COLUMNS = tuple(key for key in _COLUMNS if key != "flops_convention")


def _complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list:
    from click.shell_completion import CompletionItem

    names = [CompletionItem(name) for name in published_models() if name.startswith(incomplete)]
    return [*names, CompletionItem(incomplete, type="file")]


@click.command("compare")
@click.argument("models", nargs=-1, shell_complete=_complete_models)
@click.option("--columns", metavar="A,B,C", help="Columns to show; each result of a run is one, such as sst2/accuracy.")
@click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN puts the highest first.")
@click.option("--cost", default="flops", show_default=True, metavar="COLUMN", help="Cost of the Pareto marks.")
@click.option("--quality", default="upstream", show_default=True, metavar="COLUMN", help="Quality of the Pareto marks.")
@format_option
def command(
    models: tuple[str, ...], columns: str | None, sort: str | None, cost: str, quality: str, format: str
) -> None:
    """Set runs and published models side by side.

    MODELS are run manifests, runs' directories, quoted globs of them, and published names: small, small-nl24,
    switch-base ... A bare name is the published model even where a file has that name (write ./small for the file);
    published:'switch-*' takes several. Without MODELS: all that is published.

    In each column the best is marked with a star; the mark under Pareto means that no other model is cheaper (--cost)
    without being worse (--quality).

    FLOPs are of one forward pass, of all rows in one convention (see scalecli flops) and over one batch: in paper, over
    128 x 512 inputs x 128 targets, if a published model is in the table, otherwise in forward, over 128 x 512 x 114.
    Upstream is the negative log-perplexity on held-out text; a finetuned or evaluated run has that of the run that it
    was made from, as long as that is in its place and unchanged.
    """
    found = _resolved(models or (f"{_PREFIX}*",))
    convention: Convention = "paper" if any(isinstance(model, PublishedModel) for model in found) else "forward"
    rows = _rows(found, convention)
    keys = column_keys(rows)
    shown = [_known(key.strip(), [*keys, "pareto"]) for key in columns.split(",")] if columns else [*_DEFAULT_COLUMNS]
    is_for_people = format in ("table", "markdown")
    if not is_for_people:
        shown += [key for key in ("flops_convention", "pareto", "best") if key not in shown]
    cost, quality = _known(cost, keys), _known(quality, keys)
    used = {*shown, cost, quality} if "pareto" in shown else {*shown}
    if sort:
        key = _known(sort.removeprefix("-"), keys)
        used.add(key)
        rows = _sorted(rows, key, descending=sort.startswith("-"))

    efficient = efficient_rows(rows, cost, quality)
    best = best_cells(rows, [key for key in shown if key in keys])
    table = [
        {
            **{key: row.value(key) for key in keys},
            "pareto": ("●" if mark else "") if is_for_people else mark,
            "best": [key for key in shown if (index, key) in best],
        }
        for index, (row, mark) in enumerate(zip(rows, efficient, strict=True))
    ]
    print_table(table, [_COLUMNS.get(key, Column(key, key, "float")) for key in shown], format, best)
    if "flops" in used:
        batch = BATCHES[convention]
        size = f"batch {batch.sequences} x {batch.inputs} inputs x {batch.targets} targets"
        click.echo(f"FLOPs: {convention}, {size}", err=True)


def _resolved(models: Iterable[str]) -> list[PublishedModel | str]:
    """Returns the published models and the paths of runs that the arguments name, in their order.

    Raises:
        MissingError: no published model has such a name, or nothing is where a path or a glob points.
    """
    found: list[PublishedModel | str] = []
    for model in models:
        name = model.lower().removeprefix(_PREFIX)
        if name in published_models():
            found.append(published_models()[name])
        elif model.lower().startswith(_PREFIX):
            found += [published_models()[match] for match in _published_matches(name)]
        else:
            found += _paths(model)
    return found


def _rows(models: Iterable[PublishedModel | str], convention: Convention) -> list[Row]:
    """Makes the rows; what holds no manifest that this version can use is reported and left out.

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
    for reason in damage if rows else damage[:-1]:
        click.echo(f"warning: left out: {reason}", err=True)
    if not rows:
        raise damage[-1]
    return rows


def _published_matches(pattern: str) -> list[str]:
    names = fnmatch.filter(published_models(), pattern)
    if not names:
        raise MissingError(f"{_PREFIX}{pattern}: no published model of that name{nearest(pattern, published_models())}")
    return names


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


def _known(key: str, keys: Sequence[str]) -> str:
    if key not in keys:
        hint = nearest(key, keys) or f"; there are {', '.join(keys)}"
        raise UsageError(f"no column {key!r}{hint}")
    return key


def _sorted(rows: list[Row], key: str, descending: bool) -> list[Row]:
    known = [row for row in rows if row.value(key) is not None]
    unknown = [row for row in rows if row.value(key) is None]
    return [*sorted(known, key=lambda row: row.value(key), reverse=descending), *unknown]
