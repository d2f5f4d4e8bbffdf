"""The table of `scalecli compare`: which columns it has, and what stands in them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from scalecli import strict
from scalecli.analysis.rows.comparison import FIXED_COLUMNS, Row, best_cells, column_keys, efficient_rows
from scalecli.cli.output.formats import FOR_PEOPLE, table_width
from scalecli.tables import Column, Table, differing

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
        Column("training_flops", "Training FLOPs", "flops"),
        Column("tokens", "Tokens", "count"),
        Column("tokens_per_parameter", "Tokens/parameter", "float"),
        Column("device_hours", "Device-hours", "hours"),
        Column("upstream", "Upstream", "float"),
        Column("downstream", "Downstream", "float"),
        Column("few_shot", "Few-shot", "float"),
        Column("glue", "GLUE", "float"),
        Column("superglue", "SuperGLUE", "float"),
        Column("squad", "SQuAD", "float"),
    )
}
_HEADLINES = ("name", "source", "architecture", "parameters", "flops", "steps_per_s", "upstream", "downstream")
_FOR_PROGRAMS = (
    "path",
    "table",
    "flops_convention",
    "flops_sequences",
    "chips",
    "upstream_text",
    "data_seen",
    "best",
    "findings",
)
_USUAL_CHIPS = 16
_WITHOUT_WIDTH = ("source", "architecture", "chips", "steps_per_s")  # what narrow terminals leave out, the first first


@dataclass(frozen=True)
class Choice:
    """Which columns are shown (None: the headlines), those that differ alone, and what the Pareto marks are of.

    `asked` are those costs and qualities that the user chose.
    """

    columns: Sequence[str] | None
    only_differing: bool
    costs: Sequence[str]
    qualities: Sequence[str]
    asked: Sequence[str] = ()


def model_table(rows: Sequence[Row], choice: Choice, format: str) -> Table:
    """The rows as a table; programs get the headlines and what figures are of besides what is chosen."""
    is_for_people = format in FOR_PEOPLE
    keys = column_keys(rows)
    shown = list(choice.columns or _headlines(rows, choice, is_for_people))
    if not is_for_people:
        shown += [key for key in (*_FOR_PROGRAMS, "pareto") if key not in shown]
    pareto = _pareto(rows, choice, is_for_people)
    best = best_cells(rows, [key for key in shown if key in keys])
    cells = [
        {
            **{key: row.value(key) for key in keys},
            **{key: marks[index] for key, marks in pareto.items()},
            "path": row.run and os.path.dirname(row.run.file),
            "upstream_text": row.upstream_text,
            "data_seen": row.seen,
            "best": [key for key in shown if (index, key) in best],
            "findings": _findings(row),
            "seeds": len(row.averaged) or None,
            **_interval_cells(row),
        }
        for index, row in enumerate(rows)
    ]
    columns = [_column(part) for key in shown for part in (pareto if key == "pareto" else (key,))]
    if any(row.averaged for row in rows):
        columns = _with_intervals(columns, rows, is_for_people)
    if choice.only_differing:
        columns = differing(cells, columns)
    return Table("models", "Models", cells, columns, best)


def _interval_cells(row: Row) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for key, (low, high) in row.intervals.items():
        cells |= {f"{key}/low": low, f"{key}/high": high, f"{key}/interval": f"{low:.4g} to {high:.4g}"}
    return cells


def _with_intervals(columns: Sequence[Column], rows: Sequence[Row], is_for_people: bool) -> list[Column]:
    """The columns with the number of seeds behind the first, and behind each mean over seeds its interval."""
    first, *others = columns
    shown = [first, Column("seeds", "Seeds", "float")]
    for column in others:
        shown.append(column)
        if any(column.key in row.intervals for row in rows):
            ends = {"interval": "95% interval"} if is_for_people else {"low": "low", "high": "high"}
            shown += [Column(f"{column.key}/{end}", title) for end, title in ends.items()]
    return shown


def narrowed(table: Table, width: int) -> tuple[Table, list[str]]:
    """The table without as many of the lesser columns as it takes to fit into `width`, and the titles of these."""
    left_out = []
    for key in _WITHOUT_WIDTH:
        if table_width(table) <= width:
            break
        left_out += [column.title for column in table.columns if column.key == key]
        table = replace(table, columns=[column for column in table.columns if column.key != key])
    return table, left_out


def known_columns(row: Row) -> list[str]:
    """The columns in which a row has something."""
    return [key for key in column_keys([row]) if row.value(key) is not None]


def _headlines(rows: Sequence[Row], choice: Choice, is_for_people: bool) -> list[str]:
    """The columns that are shown unless others are chosen.

    Where no row has a quality, all scores and traits are among them; where only some published rows have none, the
    scores of these. The costs and qualities that are asked for are always shown. Programs always get the headlines;
    people get no empty columns beside those scores or few-shot figures, and the number of chips where speeds are not
    all of the usual one.
    """
    extra = column_keys(rows)[len(FIXED_COLUMNS) :]
    lacking = [row for row in rows if row.upstream is None and row.downstream is None and row.few_shot is None]
    if len(lacking) < len(rows):
        extra = [key for key in extra if any(key in row.results for row in lacking if row.run is None)]
    image_columns = ["few_shot"] if any(row.few_shot is not None for row in rows) else []
    asked = [key for key in choice.asked if key not in (*_HEADLINES, *image_columns, *extra)]
    shown = [*_HEADLINES, *asked, *image_columns, *extra, "pareto"]
    if is_for_people and (extra or image_columns):
        known = {key for key in shown if key in choice.asked or any(row.value(key) is not None for row in rows)}
        shown = [key for key in shown if key in known or (key == "pareto" and (image_columns or choice.asked))]
    if is_for_people and "steps_per_s" in shown:
        chips = {row.chips for row in rows if row.steps_per_s is not None}
        if len(chips) > 1 or chips - {None, _USUAL_CHIPS}:
            shown.insert(shown.index("steps_per_s") + 1, "chips")
    return shown


def _pareto(rows: Sequence[Row], choice: Choice, is_for_people: bool) -> dict[str, list[Any]]:
    """The Pareto columns: for people one for each quality, with a mark or the costs for which the row is efficient.

    Programs get one, an object: for each quality for which the row is efficient, the costs.
    """
    efficient: dict[str, list[list[str]]] = {}
    for quality in choice.qualities:
        marks = {cost: efficient_rows(rows, cost, quality) for cost in choice.costs}
        efficient[quality] = [[cost for cost in choice.costs if marks[cost][index]] for index in range(len(rows))]
    if not is_for_people:
        objects = [
            {key: costs[index] for key, costs in efficient.items() if costs[index]} for index in range(len(rows))
        ]
        return {"pareto": objects}
    has_mark = len(choice.costs) == 1
    return {
        "pareto" if len(efficient) == 1 else f"pareto/{quality}": [
            ("●" if own else "") if has_mark else ", ".join(own) for own in costs
        ]
        for quality, costs in efficient.items()
    }


def _findings(row: Row) -> list[dict[str, Any]]:
    """The findings about a row as programs get them."""
    findings = map(strict.to_mapping, row.findings)
    return [{key: value for key, value in finding.items() if key != "rows"} for finding in findings]


def _column(key: str) -> Column:
    if key.startswith("pareto"):
        return Column(key, key.capitalize().replace("/", ": "))
    return _COLUMNS.get(key, Column(key, key, "float"))
