"""The files that data sets are published in, read as rows with the fields that TensorFlow Datasets give them.

A row comes with its file:line, for messages. Tables, JSON, Parquet and Arrow are rows as they are, known by
their content or else by their name; the layouts are nested, or have their labels or spans elsewhere.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from scalecli.data import records
from scalecli.data.records import Kind, read_json
from scalecli.data.sources import Remarks, display_name, read_lines
from scalecli.errors import ConfigurationError, MissingError

Row = Mapping[str, Any]
Rows = Iterator[tuple[str, Row]]

_TABLES = ("tsv", "csv", "jsonl")
_NO_FIX = ("Kamenev and Zinoviev", "Kamenev, Zinoviev, and Stalin")


def read_rows(
    location: str,
    format_name: str | None,
    *,
    needed: Sequence[str],
    columns: Sequence[str] | None = None,
    skipped: Counter[str] | None = None,
    remarks: Remarks | None = None,
) -> Rows:
    """Yields file:line and row for each row of a file, read by its format or, without one, by its name.

    A row has the needed columns. `columns` names those of a table without a header. `skipped`, where there is one,
    counts the rows of tables that have too few or too many columns; else they are errors. Raises MissingError for what
    can't be read, ConfigurationError for columns that are not there; both say where.
    """
    if format_name is not None and format_name in LAYOUTS:
        yield from _checked(LAYOUTS[format_name](location), location)
        return
    kind = _kind(location, format_name)
    for where, row in records.read_rows(location, kind, needed, header=columns or (), skipped=skipped, remarks=remarks):
        if kind not in ("csv", "tsv"):
            _check_values(row, needed, where)
        yield where, row


def _kind(location: str, format_name: str | None) -> Kind:
    if format_name == "jsonl":
        return "json"
    kind = records.kind_of(location)
    if kind == "text" and format_name is None:
        accepted = ", ".join(_TABLES)
        name = display_name(location)
        raise ConfigurationError(f"{name}: its name doesn't say its format; set format to one of {accepted}")
    if kind in ("parquet", "arrow") or format_name is None:
        return kind
    return "tsv" if format_name == "tsv" else "csv"


def _check_values(row: Mapping[str, Any], needed: Sequence[str], where: str) -> None:
    """Raises MissingError for a needed column that holds something other than texts and numbers, or lists of them."""
    for column in needed:
        value = row[column]
        items = value if isinstance(value, list) else [value]
        if not all(isinstance(item, str | bool | int | float | None) for item in items):
            shown = json.dumps(value, default=str)[:40]
            raise MissingError(f"{where}: {column!r} is {shown}, not a text or number")


def _checked(rows: Rows, location: str) -> Rows:
    """Yields rows; a field that isn't there, or is of another kind, is an error that says in which file it misses."""
    where = display_name(location)
    while True:
        try:
            where, row = next(rows)
        except StopIteration:
            return
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            what = f"no field {error}" if isinstance(error, KeyError) else "a field is of another kind than expected"
            raise MissingError(f"{display_name(location)}: not as published, after {where}: {what}") from error
        yield where, row


def _multirc(location: str) -> Rows:
    """SuperGLUE's MultiRC: a passage a line, with questions, with answers; a row for each answer."""
    for where, record in read_json(location):
        passage = record["passage"]
        for question in passage["questions"]:
            for answer in question["answers"]:
                yield (
                    where,
                    {
                        "paragraph": passage["text"],
                        "question": question["question"],
                        "answer": answer["text"],
                        "label": int(answer.get("label", -1)),
                        "idx": {"paragraph": record["idx"], "question": question["idx"], "answer": answer["idx"]},
                    },
                )


def _record(location: str) -> Rows:
    """SuperGLUE's ReCoRD: a passage a line, with queries; entities are spans, ends included; both are kept once."""
    for where, record in read_json(location):
        text = record["passage"]["text"]
        entities = {text[span["start"] : span["end"] + 1] for span in record["passage"]["entities"]}
        for query in record["qas"]:
            yield (
                where,
                {
                    "passage": text,
                    "query": query["query"],
                    "entities": sorted(entities),
                    "answers": sorted({answer["text"] for answer in query.get("answers", ())}),
                    "idx": {"passage": record["idx"], "query": query["idx"]},
                },
            )


def _wsc(location: str) -> Rows:
    """SuperGLUE's WSC, whose spans stand in an object of their own, mended as in the dataset's `wsc.fixed`."""
    for where, record in read_json(location):
        row = {"text": record["text"], **record["target"], "idx": record["idx"], "label": int(record.get("label", -1))}
        for span in ("span1", "span2"):
            row[f"{span}_text"] = _span_in_text(row["text"], row[f"{span}_text"], row[f"{span}_index"])
        yield where, row


def _span_in_text(text: str, span: str, index: int) -> str:
    """A span as it stands in its text: with the case of the word at its index, and no full stop at the end."""
    if span in text or span in _NO_FIX:
        return span
    first = text.split()[index][0]
    span = (span[0].lower() if first.islower() else span[0].upper()) + span[1:]
    return span.rstrip(".").replace("\n", " ")


def _squad(location: str) -> Rows:
    """SQuAD's JSON, of v1.1 and v2.0: articles with paragraphs with questions."""
    where = display_name(location)
    for article in (article for _, content in read_json(location) for article in content["data"]):
        for paragraph in article["paragraphs"]:
            for question in paragraph["qas"]:
                yield (
                    f"{where}, question {question['id']}",
                    {
                        "context": paragraph["context"],
                        "question": question["question"],
                        "answers": {"text": [answer["text"] for answer in question.get("answers", ())]},
                        "is_impossible": question.get("is_impossible", False),
                        "id": question["id"],
                    },
                )


def _dpr(location: str) -> Rows:
    """Definite pronoun resolution's text: four lines an example (sentence, pronoun, candidates, answer), one empty."""
    name, lines, number = display_name(location), [], 0
    for number, line in read_lines(location):
        lines.append(line.strip())
        if number % 5 == 0:
            yield f"{name}:{number - 4}", _dpr_row(lines, f"{name}:{number - 4}")
            lines = []
    if any(lines):
        yield f"{name}:{number - len(lines) + 1}", _dpr_row(lines, f"{name}:{number - len(lines) + 1}")


def _dpr_row(lines: Sequence[str], where: str) -> Row:
    if len(lines) < 4 or lines[3] not in (candidates := [part.strip() for part in lines[2].split(",")]):
        raise MissingError(f"{where}: not sentence, pronoun, candidates, and one of these")
    return {"sentence": lines[0], "pronoun": lines[1], "candidates": candidates, "label": candidates.index(lines[3])}


def _labels_beside(location: str) -> Rows:
    """AI2's form: NAME.jsonl without labels and, but for test.jsonl, NAME-labels.lst with one a line."""
    rows = read_json(location)
    labels_file = f"{location.removesuffix('.jsonl')}-labels.lst"
    try:
        labels = [label for _, label in read_lines(labels_file)]
    except MissingError:
        if not os.path.basename(location).startswith("test"):
            raise
        yield from rows
        return
    for number, (where, row) in enumerate(rows):
        if number >= len(labels):
            raise MissingError(f"{display_name(labels_file)}: {number} labels; {where} has none")
        yield where, {**row, "label": labels[number]}


LAYOUTS: dict[str, Callable[[str], Rows]] = {
    "multirc": _multirc,
    "record": _record,
    "wsc": _wsc,
    "squad": _squad,
    "dpr": _dpr,
    "labels_beside": _labels_beside,
}
FORMATS = (*_TABLES, *LAYOUTS)
