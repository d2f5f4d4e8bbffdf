"""Results on stdout, for people (table, markdown, latex) and for programs (json, csv, yaml)."""

from __future__ import annotations

import json
import math
import os
import shutil
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from scalecli import __version__
from scalecli.cli.options.groups import option_group
from scalecli.cli.output.terminal import say_wrapped
from scalecli.cli.output.text_tables import TextColumn, table_lines, text_width, wrapped
from scalecli.tables import Column, Table, csv_lines, humanise, latex, markdown, printable

FORMATS = ("table", "json", "csv", "markdown", "latex", "yaml")
FOR_PEOPLE = ("table", "markdown", "latex")


format_option = option_group(
    click.option(
        "--format", type=click.Choice(FORMATS), default="table", show_default=True, help="Format of the results."
    ),
    heading="Output",
)


def print_table(key: str, rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], format: str = "table") -> None:
    """Prints one table, which programs know by its key; see `print_tables`."""
    print_tables([Table(key, "", rows, columns)], format)


def print_tables(tables: Sequence[Table], format: str = "table") -> None:
    """Prints tables with their notes: for people one after the other, for programs as one document.

    Numbers are humanized for people and left as they are for programs; cells that are marked stand in bold with a star
    for people. The document is `{"command", "version", "tables"}`, where `tables` has the rows of each table by its
    key, whatever the options are. CSV holds one table, so that there must not be more.
    """
    if format in FOR_PEOPLE:
        for index, table in enumerate(tables):
            if index:
                click.echo()
            _print_for_people(table, format, has_title=len(tables) > 1)
        return
    if format == "csv":
        (table,) = tables
        click.echo(csv_text(table), nl=False)
    else:
        click.echo(_machine(_document(tables), format), nl=False)
    for table in tables:
        print_notes(table.notes, format)


def _print_for_people(table: Table, format: str, has_title: bool) -> None:
    """A table under its title; one without rows is a line that says why it is empty."""
    title = printable(table.title)
    if has_title and not table.rows:
        print_notes([f"{title}: {'; '.join(table.notes) or 'none'}"], format)
        return
    if has_title:
        click.echo({"markdown": f"### {title}\n", "latex": f"% {title}"}.get(format, title))
    write = {"table": _in_terminal, "markdown": markdown, "latex": latex}[format]
    click.echo(write(table.rows, table.columns, table.marked), nl=False)
    print_notes(table.notes, format)


def _document(tables: Sequence[Table]) -> dict[str, Any]:
    context = click.get_current_context(silent=True)
    command = context.command_path.partition(" ")[2] if context else None
    rows = {table.key: _plain_rows(table.rows, table.columns) for table in tables}
    return {"command": command, "version": __version__, "tables": rows}


def print_record(key: str, record: Mapping[str, Any], columns: Sequence[Column], format: str = "table") -> None:
    """Prints one object: a line for each value for people, for programs a table of one row; see `print_tables`."""
    if format in FOR_PEOPLE:
        lines = [{"label": column.title, "value": humanise(record.get(column.key), column.kind)} for column in columns]
        print_table(key, lines, [Column("label", ""), Column("value", "")], format)
    else:
        print_table(key, [record], columns, format)


def print_notes(notes: Sequence[str], format: str) -> None:
    """Prints what there is to say about a table, a line each: below it for people, on stderr for programs.

    In LaTeX the lines are comments, so that the whole can be pasted.
    """
    if format == "markdown" and notes:
        click.echo()  # a line right under a table would be one of its rows
    for note in notes:
        if format not in FOR_PEOPLE:
            say_wrapped(note)
            continue
        text = f"{'% ' if format == 'latex' else ''}{printable(note)}"
        width = terminal_width() if format == "table" else None
        click.echo(text if width is None else "\n".join(wrapped(text, width)))


def _in_terminal(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], marked: Collection[tuple[int, str]]
) -> str:
    width = terminal_width()
    return table_text(rows, columns, marked, width, can_be_bold=bool(width) and os.environ.get("TERM") != "dumb")


def table_text(
    rows: Sequence[Mapping[str, Any]],
    columns: Sequence[Column],
    marked: Collection[tuple[int, str]] = (),
    width: int | None = None,
    can_be_bold: bool = False,
) -> str:
    """A table as text, within `width` places or as wide as it is; see `print_tables`."""

    def style(row: int, column: int, text: str) -> str:
        is_bold = can_be_bold and (row, columns[column].key) in marked
        return click.style(text, bold=True) if is_bold else text

    texts = [_text_column(rows, column, {row for row, key in marked if key == column.key}) for column in columns]
    return "".join(f"{line}\n" for line in table_lines(texts, width, style))


def table_width(table: Table) -> int:
    """How wide a table is in a terminal, in places."""
    lines = table_text(table.rows, table.columns, table.marked).splitlines()
    return max(map(text_width, lines), default=0)


def terminal_width() -> int | None:
    """The places of a line of the terminal on stdout; None where stdout is none: a pipe has no width to fit into."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _text_column(rows: Sequence[Mapping[str, Any]], column: Column, marked: Collection[int]) -> TextColumn:
    """A column with a star behind what is marked; numbers keep below each other."""
    is_right = column.kind != "text"
    unmarked = " " if is_right and marked else ""
    cells = [
        f"{humanise(row.get(column.key), column.kind)}{'*' if index in marked else unmarked}"
        for index, row in enumerate(rows)
    ]
    return TextColumn(f"{printable(column.title)}{unmarked}", cells, is_right)


def _machine(value: Any, format: str) -> str:
    if format == "json":
        return _escaped(json.dumps(value, indent=2, ensure_ascii=False)) + "\n"
    from scalecli import strict

    return strict.dump_yaml(value)


def csv_text(table: Table) -> str:
    """One table as CSV; a cell with a list of texts has spaces between them, one with objects is JSON."""
    rows = _plain_rows(table.rows, table.columns)
    return csv_lines([[column.key for column in table.columns], *(map(_flat, row.values()) for row in rows)])


def _flat(value: Any) -> Any:
    if not isinstance(value, (list, dict)):
        return value
    is_plain = isinstance(value, list) and all(isinstance(item, str) for item in value)
    return " ".join(value) if is_plain else json.dumps(value, ensure_ascii=False)


def _escaped(text: str) -> str:
    """JSON whose strings hold no sign that a terminal would not show, but its escape; its own lines stay."""
    signs = (sign if sign.isprintable() or sign == "\n" else json.dumps(sign)[1:-1] for sign in text)
    return text if text.isascii() and text.replace("\n", "").isprintable() else "".join(signs)


def _plain_rows(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[dict[str, Any]]:
    return [{column.key: _plain(row.get(column.key)) for column in columns} for row in rows]


def _plain(value: Any) -> Any:
    """JSON knows no NaN and no infinity: what is no number is null, everywhere alike."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
