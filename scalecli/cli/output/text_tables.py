"""A table as lines of text: in a terminal within its width, elsewhere as wide as it is."""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest

GAP = "  "
_NARROWEST = 24  # what a column of longer texts is not made narrower than, to keep the table in one piece


@dataclass(frozen=True)
class TextColumn:
    """A column of texts: its title, the cells from the top to the bottom, and whether they stand to the right."""

    title: str
    cells: Sequence[str]
    is_right: bool = False

    @property
    def width(self) -> int:
        """How wide its widest text is, in places of a terminal."""
        return max(map(text_width, (self.title, *self.cells)), default=0)


def text_width(text: str) -> int:
    """How many places of a terminal a text takes: East Asian wide signs take two, combining signs none."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(sign) else 2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text
    )


def table_lines(
    columns: Sequence[TextColumn],
    width: int | None = None,
    style: Callable[[int, int, str], str] = lambda row, column, text: text,
) -> list[str]:
    """Lays out a table.

    One that is too wide for `width` gets its longest texts broken into lines between words. Where that is not enough,
    it goes on below itself in blocks of whole columns, each of which begins with the first column again.

    Args:
        columns: all of equal length.
        width: places in a line, or None for as many as it takes.
        style: called with row, column and text of each cell; what it returns must look as wide as the text.
    """
    lines: list[str] = []
    for chosen, widths in _blocks([column.width for column in columns], [c.is_right for c in columns], width):
        if lines:
            lines.append("")
        if any(columns[index].title for index in chosen):
            lines += _row(columns, [columns[index].title for index in chosen], chosen, widths)
            lines.append("─" * (sum(widths) + len(GAP) * (len(widths) - 1)))
        for row in range(len(columns[0].cells)):
            texts = [columns[index].cells[row] for index in chosen]
            lines += _row(columns, texts, chosen, widths, functools.partial(style, row))
    return lines


def _blocks(
    natural: Sequence[int], is_right: Sequence[bool], width: int | None
) -> Iterator[tuple[list[int], list[int]]]:
    """The columns of each block by their indices, and how wide each of them is there."""
    everything = list(range(len(natural)))
    narrow = _narrowed(natural, is_right, width)
    if width is None or not everything or _total(narrow) <= width:
        yield everything, narrow
        return
    # The first column stands in every block, and leaves room for another one.
    first = min(natural[0], width // 2)
    room = width - first - len(GAP)
    chosen, widths = [0], [first]
    for index in everything[1:]:
        own = min(natural[index], room)
        if len(chosen) > 1 and _total([*widths, own]) > width:
            yield chosen, widths
            chosen, widths = [0], [first]
        chosen, widths = [*chosen, index], [*widths, own]
    yield chosen, widths


def _narrowed(natural: Sequence[int], is_right: Sequence[bool], width: int | None) -> list[int]:
    """The widths after taking from the longest texts what the table is too wide by, as far as they stay readable."""
    widths = list(natural)
    excess = 0 if width is None else _total(widths) - width
    for index in sorted(range(len(widths)), key=lambda index: -widths[index]):
        if excess > 0 and not is_right[index]:
            taken = min(excess, max(widths[index] - _NARROWEST, 0))
            widths[index] -= taken
            excess -= taken
    return widths


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(GAP) * (len(widths) - 1)


def _row(
    columns: Sequence[TextColumn],
    texts: Sequence[str],
    chosen: Sequence[int],
    widths: Sequence[int],
    style: Callable[[int, str], str] = lambda index, text: text,
) -> Iterator[str]:
    """The lines of one row: several where a text is broken."""
    parts = [wrapped(text, width) for text, width in zip(texts, widths, strict=True)]
    for line in zip_longest(*parts, fillvalue=""):
        cells = []
        for index, text, width in zip(chosen, line, widths, strict=True):
            space = " " * (width - text_width(text))
            shown = style(index, text) if text else ""
            cells.append(f"{space}{shown}" if columns[index].is_right else f"{shown}{space}")
        yield GAP.join(cells).rstrip()


def wrapped(text: str, width: int) -> list[str]:
    """A text in lines of at most `width` places, broken between words, within a word only where that is longer."""
    if text_width(text) <= width:
        return [text]
    lines, line = [], ""
    for word in text.split(" "):
        candidate = f"{line} {word}" if line else word
        if text_width(candidate) <= width:
            line = candidate
            continue
        if line:
            lines.append(line)
        line = ""
        for sign in word:
            if text_width(line + sign) > width and line:
                lines.append(line)
                line = ""
            line += sign
    return [*lines, line] if line else lines
