"""`scalecli compare`: runs and published models in one table."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import click
from click.core import ParameterSource

from scalecli import strict
from scalecli.analysis.comparison import FIXED_COLUMNS, Row, best_cells, column_keys, efficient_rows
from scalecli.analysis.filters import Condition, check_column, parse_condition
from scalecli.analysis.published import PublishedModel, find_published, published_models
from scalecli.analysis.reproduction import reproducible_rows
from scalecli.architectures import ARCHITECTURES
from scalecli.cli.compare_notes import notes
from scalecli.cli.compared_models import PUBLISHED_PREFIX, complete_models, complete_published, resolved, rows_of
from scalecli.cli.output import Column, format_option, print_table
from scalecli.cli.reproduction import print_report
from scalecli.costs import Convention
from scalecli.errors import UsageError, nearest

_COLUMNS = {
    column.key: column
    for column in (
        Column("name", "Name"),
        Column("source", "Source"),
        Column("table", "Table"),
        Column("architecture", "Architecture"),
        Column("parameters", "Parameters", "count"),
        Column("flops", "FLOPs", "flops"),
        Column("flops_convention", "FLOPs convention"),
        Column("flops_sequences", "FLOPs of sequences", "float"),
        Column("steps_per_s", "Steps/s", "float"),
        Column("chips", "Chips", "float"),
        Column("upstream", "Upstream", "float"),
        Column("downstream", "Downstream", "float"),
    )
}
_HEADLINES = ("name", "source", "architecture", "parameters", "flops", "steps_per_s", "upstream", "downstream")
_FOR_PROGRAMS = ("table", "flops_convention", "flops_sequences", "chips", "best", "findings")
_USUAL_CHIPS = 16


@click.command("compare")
@click.argument("models", nargs=-1, shell_complete=complete_models)
@click.option(
    "--published",
    multiple=True,
    metavar="NAME",
    shell_complete=complete_published,
    help="Add a paper (scale-efficiently, architectures), a table (table-4, architectures/table-1), a model or a glob "
    "of models.",
)
@click.option("--arch", multiple=True, metavar="NAME", help="Only rows of this architecture.")
@click.option("--where", multiple=True, metavar="CONDITION", help="Only rows such as 'parameters<300M' or 'chips=16'.")
@click.option("--columns", metavar="A,B,C", help="Columns to show; each result of a run is one, such as sst2/accuracy.")
@click.option("--sort", metavar="COLUMN", help="Sort by a column; -COLUMN puts the highest first.")
@click.option("--cost", default="flops", show_default=True, metavar="A,B", help="Costs of the Pareto marks.")
@click.option("--quality", default="upstream", show_default=True, metavar="A,B", help="Qualities of the Pareto marks.")
@click.option("--reproduction", is_flag=True, help="Set what the papers print beside what is computed here.")
@format_option
@click.pass_context
def command(
    ctx: click.Context,
    models: tuple[str, ...],
    published: tuple[str, ...],
    arch: tuple[str, ...],
    where: tuple[str, ...],
    columns: str | None,
    sort: str | None,
    cost: str,
    quality: str,
    reproduction: bool,
    format: str,
) -> None:
    """Set runs and published models side by side.

    MODELS are run manifests, runs' directories, quoted globs of them, and published names: small, small-nl24,
    switch-base ... A bare name is the published model even where a file has that name (write ./small for the file).
    published:NAME is the same as --published NAME. Without either: all models that are published.

    Tables are scale-efficiently/table-1 and -3 to -8, in short table-1 and so on, and architectures/table-1 to -5.
    --published, --arch and --where may come several times. A condition is COLUMN, one of < <= > >= = !=, and a number,
    which may end in K, M, G, B, T or P, or a text.

    In each column the best is marked with a star; the mark under Pareto means that no other model is cheaper (--cost)
    without being worse (--quality), or names the costs of several for which this holds. Costs are columns such as
    flops, parameters and steps_per_s, where slow is costly; qualities upstream, downstream, glue, superglue, squad.
    Only figures that were measured alike are marked against each other: FLOPs of as many sequences, steps on as many
    chips.

    FLOPs are of one forward pass, of all rows in one convention (see scalecli flops) and over one batch: in paper, over
    128 x 512 inputs x 128 targets, if a published model is in the table, otherwise in forward, over 128 x 512 x 114.
    Upstream is the negative log-perplexity on held-out text; a finetuned or evaluated run has that of the run that it
    was made from, as long as that is in its place and unchanged. Where a paper contradicts itself, a note says so.

    --reproduction goes with --published, --arch and --format: parameters and FLOPs of the papers' rows as printed and
    as computed, the relative error, and the reason where they differ by more than 2% and the rounding of the print.
    """
    if reproduction:
        _reproduction(ctx, published, arch, format)
        return
    names = (*models, *(f"{PUBLISHED_PREFIX}{name}" for name in published))
    found = resolved(names or (f"{PUBLISHED_PREFIX}*",))
    convention: Convention = "paper" if any(isinstance(model, PublishedModel) for model in found) else "forward"
    rows = rows_of(found, convention)
    keys = column_keys(rows)
    costs, qualities = ([check_column(key.strip(), keys) for key in text.split(",")] for text in (cost, quality))
    sorted_by = check_column(sort.removeprefix("-"), keys) if sort else None
    chosen = [check_column(key.strip(), [*keys, "pareto"]) for key in columns.split(",")] if columns else None

    rows = _filtered(rows, [parse_condition(text, keys) for text in where], arch)
    if sorted_by and sort:
        rows = _sorted(rows, sorted_by, descending=sort.startswith("-"))
    is_for_people = format in ("table", "markdown")
    shown = chosen or _headlines(rows, is_for_people)
    if not is_for_people:
        shown += [key for key in (*_FOR_PROGRAMS, "pareto") if key not in shown]
    used = {*shown, *([sorted_by] if sorted_by else []), *([*costs, *qualities] if "pareto" in shown else [])}

    pareto = _pareto(rows, costs, qualities, is_for_people)
    best = best_cells(rows, [key for key in shown if key in keys])
    table = [
        {
            **{key: row.value(key) for key in keys},
            **{key: cells[index] for key, cells in pareto.items()},
            "best": [key for key in shown if (index, key) in best],
            "findings": _findings(row, format),
        }
        for index, row in enumerate(rows)
    ]
    printed = [each for key in shown for each in (pareto if key == "pareto" else (key,))]
    print_table(table, [_column(key) for key in printed], format, best)
    for line in notes(rows, used, convention, is_for_people):
        click.echo(line, err=True)


def _reproduction(ctx: click.Context, published: Sequence[str], architectures: Sequence[str], format: str) -> None:
    """Prints the report of what is published, or of all.

    Raises:
        MissingError: nothing published has such a name.
        UsageError: an option that does not go with the report, or an architecture that no row has.
    """
    for name in ("models", "where", "columns", "sort", "cost", "quality"):
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            shown = "MODELS" if name == "models" else f"--{name}"
            raise UsageError(f"--reproduction goes with --published, --arch and --format, not with {shown}")
    models = [model for name in published for model in find_published(name)] if published else reproducible_rows()
    _check_architectures(architectures, {model.architecture for model in reproducible_rows()})
    print_report([model for model in models if not architectures or model.architecture in architectures], format)


def _check_architectures(architectures: Sequence[str], known: Collection[str]) -> None:
    for name in architectures:
        if name not in known:
            raise UsageError(f"--arch {name}: no such architecture{nearest(name, known)}")


def _filtered(rows: list[Row], conditions: Sequence[Condition], architectures: Sequence[str]) -> list[Row]:
    """The rows that meet all conditions and have one of the architectures, if any are given; warns if none do.

    Raises:
        UsageError: an architecture that neither is known nor has a row.
    """
    known = {*ARCHITECTURES, *(model.architecture for model in published_models().values())}
    _check_architectures(architectures, known | {row.architecture for row in rows})
    left = [
        row
        for row in rows
        if (not architectures or row.architecture in architectures) and all(each.holds(row) for each in conditions)
    ]
    if rows and not left:
        click.echo(f"warning: none of the {len(rows)} rows meets --where and --arch", err=True)
    return left


def _headlines(rows: Sequence[Row], is_for_people: bool) -> list[str]:
    """The columns that are shown unless others are chosen: where no row has a quality, all scores and traits too.

    Programs always get the headlines; people get no empty columns beside those scores, and the number of chips where
    speeds are not all of the usual one.
    """
    extra = []
    if all(row.upstream is None and row.downstream is None for row in rows):
        extra = column_keys(rows)[len(FIXED_COLUMNS) :]
    shown = [*_HEADLINES, *extra, "pareto"]
    if is_for_people and extra:
        filled = {key for key in _HEADLINES if any(row.value(key) is not None for row in rows)}
        shown = [*(key for key in _HEADLINES if key in filled), *extra]
    if is_for_people and "steps_per_s" in shown:
        chips = {row.chips for row in rows if row.steps_per_s is not None}
        if len(chips) > 1 or chips - {None, _USUAL_CHIPS}:
            shown.insert(shown.index("steps_per_s") + 1, "chips")
    return shown


def _pareto(
    rows: Sequence[Row], costs: Sequence[str], qualities: Sequence[str], is_for_people: bool
) -> dict[str, list[Any]]:
    """The Pareto columns: one for each quality, with a mark, or with the costs for which the row is efficient."""
    columns: dict[str, list[Any]] = {}
    for quality in qualities:
        marks = {cost: efficient_rows(rows, cost, quality) for cost in costs}
        cells: list[Any] = [[cost for cost in costs if marks[cost][index]] for index in range(len(rows))]
        if len(costs) == 1:
            cells = [bool(cell) for cell in cells]
        if is_for_people:
            cells = [("●" if cell else "") if isinstance(cell, bool) else ", ".join(cell) for cell in cells]
        columns["pareto" if len(qualities) == 1 else f"pareto/{quality}"] = cells
    return columns


def _findings(row: Row, format: str) -> list[dict[str, Any]] | str:
    """The findings about a row as programs get them: mappings, or one text where a cell must be one."""
    if format == "csv":
        return "; ".join(finding.text() for finding in row.findings)
    return [{key: value for key, value in strict.to_mapping(each).items() if key != "rows"} for each in row.findings]


def _column(key: str) -> Column:
    if key.startswith("pareto"):
        return Column(key, key.capitalize().replace("/", ": "))
    return _COLUMNS.get(key, Column(key, key, "float"))


def _sorted(rows: list[Row], key: str, descending: bool) -> list[Row]:
    known = [row for row in rows if row.value(key) is not None]
    unknown = [row for row in rows if row.value(key) is None]
    return [*sorted(known, key=lambda row: row.value(key), reverse=descending), *unknown]
