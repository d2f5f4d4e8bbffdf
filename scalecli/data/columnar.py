"""Parquet and Arrow files (Feather and what Hugging Face's `datasets` saves are Arrow), read batch by batch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal

from scalecli.data.columns import check_names, check_needed
from scalecli.data.sources import Remarks, display_name, not_utf_8
from scalecli.errors import MissingError, reason_of
from scalecli.storage.files import is_remote, locate, one_line_errors

Row = dict[str, Any]

_ROWS = 1_024  # decoded at once
_READ_BYTES = 1 << 20
_CONTINUED = b"\xff\xff\xff\xff"  # begins every message of an Arrow stream


def kind_of(head: bytes, name: str) -> Literal["parquet", "arrow"] | None:
    """The kind of a file that begins with these bytes, None for others. Raises MissingError for old Feather."""
    if head.startswith(b"FEA1"):
        raise MissingError(f"{name}: Feather of version 1; write it as version 2 or Parquet")
    if head.startswith(b"PAR1"):
        return "parquet"
    return "arrow" if head.startswith((b"ARROW1", _CONTINUED)) else None


def read_rows(location: str, remarks: Remarks | None = None) -> Iterator[tuple[str, Row]]:
    """Yields file:row and row for each row of a file, as Python values.

    Raises MissingError for a file that can't be read, ConfigurationError for two columns of one name.
    """
    name, number = display_name(location), 1
    for batch in _batches(location, None, 0):
        with _one_line(name):
            rows = batch.to_pylist()
        for row in rows:
            yield f"{name}:{number}", row
            number += 1
        if remarks:
            remarks.closed_bytes += batch.nbytes  # about what it takes in the file, unless that is compressed


def read_column(location: str, column: str, start: int = 0) -> Iterator[Any]:
    """Yields the values of one column from a row on; of Parquet the row groups before it are not read.

    Raises as `read_rows` does, and ConfigurationError for a column that is not there.
    """
    name = display_name(location)
    for batch in _batches(location, column, start):
        with _one_line(name):
            values = batch.column(0).to_pylist()
        yield from values


def rows_and_bytes(location: str, column: str) -> tuple[int, int]:
    """The number of rows of a Parquet file, and the bytes of one column before compression.

    Only its footer is read. Raises as `read_column` does.
    """
    import pyarrow.parquet

    name = display_name(location)
    with _opened(location) as stream, _one_line(name):
        file = pyarrow.parquet.ParquetFile(stream)
        check_needed([column], file.schema_arrow.names, name)
        groups = [file.metadata.row_group(group) for group in range(file.metadata.num_row_groups)]
        chunks = [group.column(number) for group in groups for number in range(group.num_columns)]
        size = sum(chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] == column)
        return file.metadata.num_rows, size


def _batches(location: str, column: str | None, start: int) -> Iterator[Any]:
    name = display_name(location)
    with _opened(location) as stream, _one_line(name):
        head = stream.read(8)
        stream.seek(0)
        reader = _parquet_batches if head.startswith(b"PAR1") else _arrow_batches
        yield from reader(stream, column, start, name)


def _parquet_batches(stream: Any, column: str | None, start: int, name: str) -> Iterator[Any]:
    import pyarrow.parquet

    file = pyarrow.parquet.ParquetFile(stream, pre_buffer=False, buffer_size=_READ_BYTES)
    check_names(file.schema_arrow.names, name)
    columns = None if column is None else [column]
    check_needed(columns or (), file.schema_arrow.names, name)
    groups: list[int] = []
    skip = start
    for group in range(file.metadata.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if groups or skip < rows:
            groups.append(group)
        else:
            skip -= rows
    yield from _without_first(file.iter_batches(_ROWS, row_groups=groups, columns=columns, use_threads=False), skip)


def _arrow_batches(stream: Any, column: str | None, start: int, name: str) -> Iterator[Any]:
    import pyarrow as pa

    if stream.read(6) == b"ARROW1":
        stream.seek(0)
        file = pa.ipc.open_file(stream)
        batches = (file.get_batch(number) for number in range(file.num_record_batches))
        names = file.schema.names
    else:
        stream.seek(0)
        batches = pa.ipc.open_stream(stream)
        names = batches.schema.names
    check_names(names, name)
    check_needed([] if column is None else [column], names, name)
    chosen = (batch if column is None else batch.select([column]) for batch in batches)
    parts = (batch.slice(first, _ROWS) for batch in chosen for first in range(0, batch.num_rows, _ROWS))
    yield from _without_first(parts, start)


def _without_first(batches: Iterator[Any], skip: int) -> Iterator[Any]:
    for batch in batches:
        if skip < batch.num_rows:
            yield batch.slice(skip)
        skip = max(skip - batch.num_rows, 0)


@contextlib.contextmanager
def _opened(location: str) -> Iterator[Any]:
    """Opens a file as Arrow reads it: a local one is mapped into memory."""
    import pyarrow as pa

    name = display_name(location)
    with one_line_errors(name):
        system, path = locate(location)
        if not is_remote(name):
            with pa.memory_map(path) as mapped:
                yield mapped
            return
        with system.open(path, "rb") as stream:
            yield stream


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Turns what Arrow raises about a file's content into one line. Raises MissingError."""
    import pyarrow as pa

    errors = pa.ArrowException, OSError  # before the yield: a generator may end when modules are gone
    try:
        yield
    except errors as error:
        raise MissingError(f"{name}: cannot be read ({reason_of(error)})") from error
    except UnicodeDecodeError as error:
        raise not_utf_8(f"{name}, a text", error) from error
