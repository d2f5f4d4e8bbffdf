"""Tables of values: their columns, how people read a value, and the forms that people paste: Markdown and LaTeX."""

from __future__ import annotations

import csv
import io
import math
import re
import urllib.parse
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

_SUFFIXES = {
    "count": ("", "K", "M", "B", "T"),
    "flops": ("", "K", "M", "G", "T", "P", "E", "Z"),
    "bytes": (" B", " kB", " MB", " GB", " TB", " PB"),
}

Kind = Literal["count", "flops", "bytes", "float", "hours", "text"]


@dataclass(frozen=True)
class Column:
    """A column: the key in a row, the title that people see, and what kind of value it holds."""

    key: str
    title: str
    kind: Kind = "text"


@dataclass(frozen=True)
class Link:
    """A text as a value that leads somewhere, where a form of table can: a relative path or a URL."""

    text: str
    target: str

    def __str__(self) -> str:
        return self.text

    @property
    def url(self) -> str:
        """The target as a document states it."""
        return urllib.parse.quote(self.target, safe="/:")


@dataclass(frozen=True)
class Table:
    """A table of a larger whole: `key` names it for programs, `title` for people, `notes` stand below it.

    `marked` names cells, as (row, column key), that people see in bold with a star.
    """

    key: str
    title: str
    rows: Sequence[Mapping[str, Any]]
    columns: Sequence[Column]
    marked: Collection[tuple[int, str]] = ()
    notes: Sequence[str] = ()


def keyed(*keys: str) -> list[Column]:
    """Columns as programs get them, titled by their keys."""
    return [Column(key, key) for key in keys]


def humanise(value: Any, kind: str) -> str:
    """Returns a value as people read it: 60,506,624 as `60.5M`, 3.7e12 FLOPs as `3.70T`, 1.5 hours as `1:30:00`,
    None as `-`.

    Counts and FLOPs have multiples of 1000 (B and G are 1e9), bytes too; each is shown with three digits.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        parts = {printable(str(name)): humanise(part, "float") for name, part in value.items()}
        return ", ".join(part if name == "name" else f"{name} {part}" for name, part in parts.items())
    if isinstance(value, (list, tuple)):
        return ", ".join(printable(str(part)) for part in value)
    if kind == "float":
        return f"{value:.4g}" if isinstance(value, float) else str(value)
    if kind == "hours" and math.isfinite(value):
        minutes, second = divmod(round(3600 * value), 60)
        return f"{minutes // 60}:{minutes % 60:02}:{second:02}"
    if kind not in _SUFFIXES:
        return printable(str(value))
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


def differing(rows: Sequence[Mapping[str, Any]], columns: Sequence[Column]) -> list[Column]:
    """The first column, which names the rows, and those of the others in which the rows are not all alike."""
    return [
        column
        for index, column in enumerate(columns)
        if index == 0 or len({repr(row.get(column.key)) for row in rows}) > 1
    ]


def printable(text: str) -> str:
    """A text in one line without control characters: what comes from a file must not drive the terminal."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else " " for sign in text)


def shortened(text: str, longest: int) -> str:
    """The text without its middle where it has more than `longest` characters."""
    if len(text) <= longest:
        return text
    return f"{text[: longest // 2]}…{text[len(text) - (longest - 1) // 2 :]}"


def first_few(texts: Sequence[str], count: int, separator: str = ", ") -> str:
    """The first of several texts, and how many more there are: `small, base and 2 more`."""
    more = f" and {len(texts) - count:,} more" if len(texts) > count else ""
    return f"{separator.join(texts[:count])}{more}"


def csv_lines(rows: Iterable[Iterable[Any]]) -> str:
    """Rows of cells as CSV (see `csv_cell`)."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(map(csv_cell, row) for row in rows)
    return stream.getvalue()


def csv_cell(value: Any) -> Any:
    """A value for CSV, in which no text is a formula to a spreadsheet, nor drives a terminal."""
    if not isinstance(value, str):
        return value
    text = printable(value)
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def markdown(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], marked: Collection[tuple[int, str]] = ()
) -> str:
    """A table as in GitHub's Markdown; see `print_table`."""
    lines = [
        [markdown_text(column.title) for column in columns],
        ["---" if column.kind == "text" else "---:" for column in columns],
    ]
    for index, row in enumerate(rows):
        texts = {column.key: _markdown_cell(row.get(column.key), column.kind) for column in columns}
        lines.append([f"**{text}**\\*" if (index, key) in marked else text for key, text in texts.items()])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _markdown_cell(value: Any, kind: Kind) -> str:
    text = markdown_text(humanise(value, kind))
    return f"[{text}]({value.url})" if isinstance(value, Link) else text


def markdown_text(text: str) -> str:
    """A text for Markdown, in which none of its signs means anything."""
    return re.sub(r"([\\`*|<\[])", r"\\\1", printable(text))


def latex(
    rows: Sequence[Mapping[str, Any]], columns: Sequence[Column], marked: Collection[tuple[int, str]] = ()
) -> str:
    """A table for LaTeX with the package booktabs; see `print_table`."""
    lines = [
        f"\\begin{{tabular}}{{{''.join('l' if column.kind == 'text' else 'r' for column in columns)}}}",
        "\\toprule",
        *_latex_head(columns),
    ]
    for index, row in enumerate(rows):
        texts = {column.key: _latex_text(humanise(row.get(column.key), column.kind)) for column in columns}
        cells = (f"\\textbf{{{text}}}" if (index, key) in marked else text for key, text in texts.items())
        lines.append(f"{' & '.join(cells)} \\\\")
    return "".join(f"{line}\n" for line in (*lines, "\\bottomrule", "\\end{tabular}"))


def _latex_head(columns: Sequence[Column]) -> list[str]:
    if not any(column.title for column in columns):
        return []
    return [f"{' & '.join(_latex_text(column.title) for column in columns)} \\\\", "\\midrule"]


_LATEX = {
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "|": "\\textbar{}"},
    **{"<": "\\textless{}", ">": "\\textgreater{}", "●": "$\\bullet$"},
    **{"[": "{[}", "*": "{*}"},  # at the beginning of a row they would belong to the end of the row before
}


def _latex_text(text: str) -> str:
    if text == "-":
        return "--"
    escaped = "".join(_LATEX.get(sign, sign) for sign in printable(text))
    return re.sub(r"^-(?=[\d.])", "$-$", escaped)  # a minus, not a hyphen
