"""Tables: the rows of TSV, CSV and JSONL files, values by column, with the line that each comes from."""

from __future__ import annotations

import csv
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from scalecli.data.sources import display_name, read_lines
from scalecli.errors import ConfigurationError, MissingError, nearest

FORMATS = ("tsv", "csv", "jsonl")
_LONGEST_FIELD = 1 << 30

Row = dict[str, Any]


def read_table(
    location: str,
    needed: Sequence[str],
    format_name: str | None = None,
    columns: Sequence[str] | None = None,
    skipped: Counter[str] | None = None,
) -> Iterator[tuple[str, Row]]:
    """Yields place, file:line, and row of a table, values as they stand there.

    A row has at least the needed columns. The format is by the file's name unless given. `columns` names the columns of
    a file without a header. `skipped`, where there is one, counts rows with too few or too many columns, which are left
    out; else they are errors. Raises ConfigurationError for a needed column that isn't there, MissingError for lines
    that can't be read; both say where.
    """
    name = display_name(location)
    format_name = format_name or location.removesuffix(".gz").rpartition(".")[2]
    if format_name not in FORMATS:
        raise ConfigurationError(f"{name}: its name doesn't say its format; set format to one of {', '.join(FORMATS)}")
    if format_name == "jsonl":
        yield from _json_rows(location, needed)
        return
    records = _csv_records(location) if format_name == "csv" else _tsv_records(location)
    header = list(columns or ())
    for line, record in records:
        if not header:
            header = [column.strip() for column in record]
            _check_columns(needed, header, f"{name}:{line}")
            continue
        if len(record) != len(header) and skipped is not None:
            skipped["not as many columns as the header"] += 1
            continue
        if len(record) != len(header):
            raise MissingError(f"{name}:{line}: {len(record)} columns, expected {len(header)} ({', '.join(header)})")
        row = dict(zip(header, record, strict=True))
        _check_columns(needed, row, f"{name}:{line}")
        yield f"{name}:{line}", row


def _tsv_records(location: str) -> Iterator[tuple[int, list[str]]]:
    """Yields the fields of each line that isn't blank; quotes mean nothing."""
    return ((number, line.split("\t")) for number, line in read_lines(location) if line.strip())


def _csv_records(location: str) -> Iterator[tuple[int, list[str]]]:
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader((line + "\n" for _, line in read_lines(location)), strict=True)
    try:
        for record in reader:
            if record:
                yield reader.line_num, record
    except csv.Error as error:
        raise MissingError(f"{display_name(location)}:{reader.line_num}: not CSV ({error})") from error


def _json_rows(location: str, needed: Sequence[str]) -> Iterator[tuple[str, Row]]:
    """Yields the object of each line; its needed fields are texts, numbers, booleans, or lists of them."""
    for place, record in read_json_lines(location):
        _check_columns(needed, record, place)
        for column in needed:
            value = record[column]
            items = value if isinstance(value, list) else [value]
            if not all(isinstance(item, str | bool | int | float) for item in items):
                raise MissingError(f"{place}: {column!r} is {json.dumps(value)[:40]}, not a text or number")
        yield place, record


def read_json_lines(location: str) -> Iterator[tuple[str, Row]]:
    """Yields the place, file:line, and the object of each line that isn't blank. Raises MissingError."""
    for number, line in read_lines(location):
        place = f"{display_name(location)}:{number}"
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise MissingError(f"{place}: not JSON ({error})") from error
        if not isinstance(record, dict):
            raise MissingError(f"{place}: not a JSON object")
        yield place, record


def _check_columns(needed: Sequence[str], present: Any, place: str) -> None:
    for column in needed:
        if column not in present:
            known = ", ".join(map(repr, present))
            raise ConfigurationError(f"{place}: no column {column!r}; it has {known}{nearest(column, present)}")
