"""Tables: the rows of TSV, CSV, JSON, Parquet and Arrow files, values by column, each with its file and line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence

from scalecli.data.records import Kind, Row, kind_of, read_rows
from scalecli.data.sources import Remarks, display_name
from scalecli.errors import ConfigurationError, MissingError

FORMATS = ("tsv", "csv", "jsonl")


def read_table(
    location: str,
    needed: Sequence[str],
    format_name: str | None = None,
    columns: Sequence[str] | None = None,
    skipped: Counter[str] | None = None,
    remarks: Remarks | None = None,
) -> Iterator[tuple[str, Row]]:
    """Yields file:line and row for each row of a table, values as they stand there.

    A row has at least the needed columns. JSON, Parquet and Arrow are known by the content; else the format is by the
    file's name unless given. `columns` names the columns of a file without a header. `skipped`, where there is one,
    counts rows with too few or too many columns, which are left out; else they are errors. Raises ConfigurationError
    for a needed column that isn't there, MissingError for lines that can't be read; both say where.
    """
    name = display_name(location)
    kind = _kind(location, format_name)
    if kind == "text":
        raise ConfigurationError(f"{name}: its name doesn't say its format; set format to one of {', '.join(FORMATS)}")
    rows = read_rows(location, kind, needed, header=columns or (), skipped=skipped, remarks=remarks)
    if kind in ("csv", "tsv"):
        yield from rows
        return
    for where, row in rows:
        for column in needed:
            value = row[column]
            items = value if isinstance(value, list) else [value]
            if not all(isinstance(item, str | bool | int | float | None) for item in items):
                shown = json.dumps(value, default=str)[:40]
                raise MissingError(f"{where}: {column!r} is {shown}, not a text or number")
        yield where, row


def _kind(location: str, format_name: str | None) -> Kind:
    if format_name == "jsonl":
        return "json"
    kind = kind_of(location)
    if kind in ("parquet", "arrow") or format_name is None:
        return kind
    return "tsv" if format_name == "tsv" else "csv"
