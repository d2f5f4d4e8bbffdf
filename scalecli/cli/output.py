"""Results on stdout, for people (table, markdown) and for programs (json, csv, yaml)."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import click

FORMATS = ("table", "json", "csv", "markdown", "yaml")

_SUFFIXES = {
    "count": ("", "K", "M", "B", "T"),
    "flops": ("", "K", "M", "G", "T", "P", "E", "Z"),
    "bytes": (" B", " kB", " MB", " GB", " TB", " PB"),
}


@dataclass(frozen=True)
class Column:
    """A column: the key in a row, the title that people see, and what kind of value it holds."""

    key: str
    title: str
    kind: Literal["count", "flops", "bytes", "float", "text"] = "text"


def format_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--format table|json|csv|markdown|yaml`, which arrives as the argument `format`."""
    return click.option(
        "--format", "format", type=click.Choice(FORMATS), default="table", show_default=True, help="Form of the output."
    )(function)


def humanise(value: Any, kind: str) -> str:
    """Returns a value as people read it: 60,506,624 as `60.5M`, 3.7e12 FLOPs as `3.70T`, None as `-`.

    Counts and FLOPs have multiples of 1000 (B and G are 1e9), bytes too; each is shown with three digits.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if kind == "float":
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if kind not in _SUFFIXES:
        return str(value)
    if not math.isfinite(value):
        return str(value)
    suffixes = _SUFFIXES[kind]
    power, scaled = 0, float(value)
    # 999.5 and more would be shown as 1000.
    while abs(scaled) >= 999.5 and power < len(suffixes) - 1:
        power, scaled = power + 1, scaled / 1000
    if power == 0:
        return f"{value:g}{suffixes[0]}"
    digits = 2 if abs(scaled) < 9.995 else 1 if abs(scaled) < 99.95 else 0
    return f"{scaled:.{digits}f}{suffixes[power]}"


def print_table(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    format: str = "table",
    marked: Collection[tuple[int, str]] = (),
) -> None:
    """Prints rows of values by column key; numbers are humanised for people and left as they are for programs.

    `marked` names cells, as (row, column key), that people see in bold with a star; programs get the bare values.
    """
    if format == "table":
        _print_rich(rows, columns, marked)
    elif format == "markdown":
        click.echo(_markdown(rows, columns, marked), nl=False)
    else:
        plain = [{column.key: _plain(row.get(column.key)) for column in columns} for row in rows]
        click.echo(_machine(plain, [column.key for column in columns], format), nl=False)


def print_record(record: Mapping[str, Any], columns: Sequence[Column], format: str = "table") -> None:
    """Prints one object: a line for each value for people, one mapping for programs."""
    if format in ("table", "markdown"):
        lines = [{"label": column.title, "value": humanise(record.get(column.key), column.kind)} for column in columns]
        print_table(lines, [Column("label", ""), Column("value", "")], format)
        return
    plain = {column.key: _plain(record.get(column.key)) for column in columns}
    click.echo(_machine([plain] if format == "csv" else plain, list(plain), format), nl=False)


def print_notes(notes: Sequence[str], format: str) -> None:
    """Prints what there is to say about a table, a line each: below it for people, on stderr for programs."""
    if format == "markdown" and notes:
        click.echo()
    for note in notes:
        click.echo(note, err=format not in ("table", "markdown"))


def _print_rich(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], marked: Collection) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # A pipe has no width to fit into, and nothing may be cut off there.
    console = Console() if sys.stdout.isatty() else Console(width=10_000, color_system=None)
    headed = any(column.title for column in columns)
    table = Table(box=SIMPLE_HEAD if headed else None, show_header=headed, pad_edge=False)
    for column in columns:
        table.add_column(column.title, justify="left" if column.kind == "text" else "right", overflow="fold")
    for index, row in enumerate(rows):
        cells = []
        for column in columns:
            text = humanise(row.get(column.key), column.kind)
            is_marked = (index, column.key) in marked
            cells.append(Text(f"{text}*" if is_marked else text, style="bold" if is_marked else ""))
        table.add_row(*cells)
    with console.capture() as capture:
        console.print(table)
    lines = (line.rstrip() for line in capture.get().splitlines())
    click.echo("\n".join(line for line in lines if line))


def _markdown(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], marked: Collection) -> str:
    lines = [[column.title for column in columns], ["---" if c.kind == "text" else "---:" for c in columns]]
    for index, row in enumerate(rows):
        texts = {column.key: humanise(row.get(column.key), column.kind).replace("|", "\\|") for column in columns}
        lines.append([f"**{text}**\\*" if (index, key) in marked else text for key, text in texts.items()])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _machine(value: Any, keys: Sequence[str], format: str) -> str:
    if format == "json":
        return json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    if format == "yaml":
        from scalecli import strict

        return strict.dump_yaml(value)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, keys, lineterminator="\n")
    writer.writeheader()
    for row in value:
        writer.writerow({key: " ".join(item) if isinstance(item, list) else item for key, item in row.items()})
    return stream.getvalue()


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity: what is no number is null, everywhere alike."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
