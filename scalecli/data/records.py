"""Records: the rows of JSON, Parquet, Arrow, CSV and TSV files, each with its file and line.

What a file holds is known by its content, whatever it is called: JSON by its first value (an object, or a list of
objects), Parquet and Arrow by the bytes they begin with. A name counts where the content does not decide (CSV, TSV), or
where it promises what the content is not.
"""

from __future__ import annotations

import codecs
import csv
import itertools
import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from scalecli.data import columnar
from scalecli.data.columns import check_names, check_needed
from scalecli.data.sources import Remarks, check_text, display_name, not_utf_8, open_unpacked, read_lines, unpacked_name
from scalecli.errors import MissingError

Separated = Literal["csv", "tsv"]
Kind = Literal["json", "parquet", "arrow", "csv", "tsv", "text"]
Row = dict[str, Any]

TEXT = "text"  # the field that holds a document, unless another one is named
NO_TEXT = "documents left out, whose text is null or empty"
SURROGATES = "lone surrogates, replaced by U+FFFD"
_SUFFIXES: dict[str, Kind] = {
    **dict.fromkeys((".json", ".jsonl", ".ndjson"), "json"),
    **{".csv": "csv", ".tsv": "tsv", ".parquet": "parquet", ".arrow": "arrow", ".feather": "arrow"},
}
_HEAD = 1 << 20
_OBJECT_BEGINS = re.compile(r'\s*\[?\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*["\[{\d\-tfn]')
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_LONGEST_FIELD = 1 << 30


def kind_of(location: str) -> Kind:
    """What a file holds. Raises MissingError for a file that can't be read or isn't what its name promises."""
    promised = _SUFFIXES.get(os.path.splitext(unpacked_name(location))[1])
    with open_unpacked(location) as file:
        head = file.read(_HEAD)
    kind: Kind | None = columnar.kind_of(head, display_name(location))
    if kind is None and promised in ("parquet", "arrow"):
        raise MissingError(f"{display_name(location)}: not {promised.title()}, as its name says")
    if kind is None and not _begins_as_json(head):
        check_text(head, display_name(location))
        return promised or "text"
    return kind or "json"


def read_json(location: str, remarks: Remarks | None = None) -> Iterator[tuple[str, Row]]:
    """Yields file:line and object for each object of a file: one a line, objects of several lines, or a list of them.

    Lone surrogates, which no UTF-8 can hold, become U+FFFD; `remarks` count the records that have one. Raises
    MissingError, with file:line, for what is not JSON, not an object, or has a key twice.
    """
    name = display_name(location)
    with open_unpacked(location) as file:
        head = file.read(_HEAD).removeprefix(codecs.BOM_UTF8).lstrip()
    line, end, _ = head.partition(b"\n")
    read = _json_values if head[:1] == b"[" or (end and not _is_json(line)) else _json_lines
    for number, record in read(location, remarks):
        if not isinstance(record, dict):
            raise MissingError(f"{name}:{number}: not a JSON object")
        where = f"{name}:{number}"
        replaced = _without_surrogates(record)
        if remarks is not None and replaced is not record:
            remarks.add(f"records with {SURROGATES}", where)
        yield where, replaced


def read_separated(location: str, kind: Separated, remarks: Remarks | None = None) -> Iterator[tuple[int, list[str]]]:
    """Yields line number and fields of each line of a CSV or TSV file that isn't blank; quotes mean nothing in TSV.

    Raises MissingError, with file and line, for what can't be read.
    """
    if kind == "tsv":
        for number, line in read_lines(location, remarks):
            if "\t" in line or line.strip():
                yield number, line.split("\t")
        return
    csv.field_size_limit(_LONGEST_FIELD)
    reader = csv.reader((line for _, line in read_lines(location, remarks, keep_ends=True)), strict=True)
    try:
        for record in reader:
            if record:
                yield reader.line_num, record
    except csv.Error as error:
        raise MissingError(f"{display_name(location)}:{reader.line_num}: not CSV ({error})") from error


def read_rows(
    location: str,
    kind: Kind,
    needed: Sequence[str],
    *,
    header: Sequence[str] = (),
    skipped: Counter[str] | None = None,
    remarks: Remarks | None = None,
) -> Iterator[tuple[str, Row]]:
    """Yields file:line (or file:row) and row for each row of a file of that kind, values as they stand there.

    A row has at least the needed columns. `header` names the columns of a table without one. `skipped`, where there is
    one, counts rows with too few or too many columns, which are left out; else they are errors. Raises MissingError for
    what can't be read, ConfigurationError for a needed column that isn't there and two columns of one name; both say
    where.
    """
    if kind in ("csv", "tsv"):
        yield from _table_rows(location, kind, needed, list(header), skipped, remarks)
        return
    for where, row in read_json(location, remarks) if kind == "json" else columnar.read_rows(location, remarks):
        check_needed(needed, row, where)
        yield where, row


def text_of(row: Mapping[str, Any], field: str, where: str) -> str:
    """The text in a field of a row, stripped; empty where it is null. Raises MissingError for other values."""
    text = row.get(field)
    if text is None and field in row:
        return ""
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise not_utf_8(where, error) from error
    if not isinstance(text, str):
        known = f"; it has {', '.join(map(repr, row))}" if row else ""
        problem = f"{field!r} is {str(text)[:40]}, not a string" if field in row else f"no field {field!r}{known}"
        raise MissingError(f"{where}: {problem}; --text-field names another one")
    return text.strip()


def _table_rows(
    location: str,
    kind: Separated,
    needed: Sequence[str],
    header: list[str],
    skipped: Counter[str] | None,
    remarks: Remarks | None,
) -> Iterator[tuple[str, Row]]:
    name = display_name(location)
    if header:
        _check_header(header, needed, name)
    for line, record in read_separated(location, kind, remarks):
        where = f"{name}:{line}"
        if not header:
            header = [column.strip() for column in record]
            _check_header(header, needed, where)
        elif len(record) == len(header):
            yield where, dict(zip(header, record, strict=True))
        elif skipped is not None:
            skipped["not as many columns as the header"] += 1
        else:
            raise MissingError(f"{where}: {len(record)} columns, expected {len(header)} ({', '.join(header)})")


def _check_header(header: Sequence[str], needed: Sequence[str], where: str) -> None:
    check_names(header, where)
    check_needed(needed, header, where)


def _begins_as_json(head: bytes) -> bool:
    """Whether a file begins with a JSON object, or a list of objects.

    Text may begin with a brace or bracket, too: the first value has to be whole JSON. Of one longer than the head the
    first key has to be.
    """
    text = head.decode("utf-8", "ignore").removeprefix("\ufeff").lstrip()
    if not text.startswith(("{", "[")):
        return False
    is_list = text.startswith("[")
    begin = text[1:].lstrip() if is_list else text
    if not begin.startswith("{"):
        return False
    try:
        value, end = json.JSONDecoder().raw_decode(begin)
    except RecursionError:
        return False
    except ValueError:
        return len(head) == _HEAD and "\n" not in begin and bool(_OBJECT_BEGINS.match(text))
    following = begin[end:].lstrip(" \t\r")[:1]
    return bool(value) and (following in (",", "]", "\n") if is_list else following in ("", "\n"))


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return False
    return True


def _json_lines(location: str, remarks: Remarks | None) -> Iterator[tuple[int, Any]]:
    for number, line in read_lines(location, remarks):
        if not line.strip():
            continue
        try:
            yield number, _DECODER.decode(line)
        except (ValueError, RecursionError) as error:
            raise MissingError(f"{display_name(location)}:{number}: not JSON ({error})") from error


def _json_values(location: str, remarks: Remarks | None) -> Iterator[tuple[int, Any]]:
    """Yields the line and each value of a file, or of the list that it is; memory is that of the longest value."""
    name, blocks = display_name(location), _text_blocks(location, remarks)
    text, position, line, in_list, is_first = "", 0, 1, False, True
    while True:
        start = position
        position = _SPACE.match(text, position).end()  # type: ignore[union-attr]
        if in_list and not is_first and text.startswith(",", position):
            position = _SPACE.match(text, position + 1).end()  # type: ignore[union-attr]
        line += text.count("\n", start, position)
        if is_first and not in_list and text.startswith("[", position):
            in_list, position = True, position + 1
            continue
        if in_list and text.startswith("]", position):
            return
        try:
            value, end = _DECODER.raw_decode(text, position)
        except (ValueError, RecursionError) as error:
            more = "" if _is_wrong(error, text) else "".join(itertools.islice(blocks, 1 + len(text) // _HEAD))
            if not more:
                if position >= len(text) and not in_list:
                    return
                number = line + text.count("\n", position, getattr(error, "pos", position))
                raise MissingError(f"{name}:{number}: not JSON ({getattr(error, 'msg', error)})") from error
            text, position = text[position:] + more, 0
            continue
        yield line, value
        line += text.count("\n", position, end)
        position, is_first = end, False


def _is_wrong(error: Exception, text: str) -> bool:
    """Whether text isn't JSON however it goes on: it is wrong before its end, and in no open string."""
    if not isinstance(error, json.JSONDecodeError):
        return True
    return not error.msg.startswith("Unterminated") and error.pos < len(text) - 12


def _text_blocks(location: str, remarks: Remarks | None) -> Iterator[str]:
    decoder, line = codecs.getincrementaldecoder("utf-8-sig")(), 1
    with open_unpacked(location, remarks) as file:
        try:
            while block := file.read(_HEAD):
                yield decoder.decode(block)
                line += block.count(b"\n")
            yield decoder.decode(b"", final=True)
        except UnicodeDecodeError as error:
            line += error.object[: error.start].count(b"\n")
            raise not_utf_8(f"{display_name(location)}:{line}", error) from error


def _object(pairs: list[tuple[str, Any]]) -> Row:
    """An object of JSON; raises ValueError for a key that stands twice, of which Python would take the last."""
    values = dict(pairs)
    if len(values) < len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0]
        raise ValueError(f"the key {twice!r} stands twice")
    return values


_DECODER = json.JSONDecoder(object_pairs_hook=_object)
_SPACE = re.compile(r"[ \t\r\n]*")


def _without_surrogates(value: Any) -> Any:
    """A value of JSON, lone surrogates of its texts replaced; the same object where there are none."""
    if isinstance(value, str):
        return value if value.isascii() or not _LONE_SURROGATE.search(value) else _LONE_SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        items = [(_without_surrogates(key), _without_surrogates(item)) for key, item in value.items()]
        same = all(
            new is old for new, old in zip(itertools.chain(*items), itertools.chain(*value.items()), strict=True)
        )
        return value if same else dict(items)
    if isinstance(value, list):
        new_items = [_without_surrogates(item) for item in value]
        return value if all(new is old for new, old in zip(new_items, value, strict=True)) else new_items
    return value
