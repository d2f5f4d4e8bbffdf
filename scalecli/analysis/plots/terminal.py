"""A figure in the terminal: plain ASCII, in a given width, with or without colors."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Sequence
from itertools import pairwise

from scalecli.analysis.plots.figure import FigureSpec, Panel
from scalecli.analysis.plots.scales import MINUS, Scale, scales, tick_texts
from scalecli.tables import printable

NARROWEST = 40
_HEIGHT = 18  # lines of a panel's inside
_SYMBOLS = "o#Ax+v%@<>*&=$abcdefghijklmnpqrstuwyz"
_COLORS = (34, 31, 32, 35, 33, 36)  # blue, red, green, magenta, yellow, cyan in ANSI's codes
_LINES = {"frontier": ".", "fit": "-", "series": "."}
_LINE_TEXTS = {"frontier": ". Pareto frontier", "fit": "- fitted", "series": ". only that knob scaled"}


def terminal_plot(figure: FigureSpec, width: int, color: bool) -> str:
    """The figure as lines of at most `width` signs, of which it needs `NARROWEST`; panels stand below each other."""
    width = max(width, NARROWEST)
    groups = figure.groups
    symbols = {group: _SYMBOLS[index % len(_SYMBOLS)] for index, group in enumerate(groups)}
    colors = {group: _COLORS[index % len(_COLORS)] if color else None for index, group in enumerate(groups)}
    lines = _wrapped(figure.title, width)
    unplaced = 0
    for panel in figure.panels:
        canvas = _Canvas(panel, symbols, colors, width)
        lines += ["", *_wrapped(panel.y.title, width), *canvas.lines()]
        unplaced += canvas.unplaced
    keys = [_colored(symbols[group], colors[group]) + f" {_ascii(group)[: width - 2]}" for group in groups]
    keys += [text for kind, text in _LINE_TEXTS.items() if kind in figure.kinds]
    lines += ["", *_keys(keys, width)]
    for text in figure.caption:
        lines += _wrapped(text, width)
    if unplaced:
        lines += _wrapped(f"No room for {unplaced} names.", width)
    return "\n".join(lines) + "\n"


class _Canvas:
    """One panel on a grid of signs, each with its color or none."""

    def __init__(self, panel: Panel, symbols: dict[str, str], colors: dict[str, int | None], width: int) -> None:
        self._panel, self._symbols, self._colors = panel, symbols, colors
        self._x_scale, self._y_scale = scales(panel)
        ticks = self._y_scale.ticks(_HEIGHT // 3)
        self._y_ticks = dict(zip(map(self._row, ticks), map(_ascii, tick_texts(ticks, panel.y)), strict=True))
        self._margin = max(map(len, self._y_ticks.values()), default=0)
        self._width = width - self._margin - 2
        self._grid: dict[tuple[int, int], tuple[str, int | None]] = {}
        self.unplaced = 0
        self._draw()

    def lines(self) -> list[str]:
        """The panel with its axes."""
        lines = []
        for row in range(_HEIGHT):
            signs = [self._grid.get((row, column), (" ", None)) for column in range(self._width)]
            text = "".join(_colored(sign, color) for sign, color in signs).rstrip()
            tick = self._y_ticks.get(row, "")
            lines.append(f"{tick:>{self._margin}} {'+' if tick else '|'}{text}")
        return [*lines, *self._x_axis()]

    def _x_axis(self) -> list[str]:
        ticks = self._x_scale.ticks(max(2, self._width // 10))
        axis, texts = ["-"] * self._width, [" "] * self._width
        for tick, text in zip(ticks, tick_texts(ticks, self._panel.x), strict=True):
            column = self._column(tick)
            axis[column] = "+"
            start = min(max(0, column - len(text) // 2), self._width - len(text))
            if not "".join(texts[max(0, start - 1) : start + len(text) + 1]).strip():
                texts[start : start + len(text)] = _ascii(text)
        indent = " " * (self._margin + 2)
        title = _ascii(self._panel.x.title)[: self._width].center(self._width).rstrip()
        return [f"{indent[:-1]}+{''.join(axis)}", f"{indent}{''.join(texts).rstrip()}", f"{indent}{title}"]

    def _draw(self) -> None:
        for line in self._panel.lines:
            color = None if line.group is None else self._colors[line.group]
            for start, end in pairwise(zip(line.xs, line.ys, strict=True)):
                self._line(start, end, _LINES[line.kind], color)
        # What is on the frontier is seen where several models share a cell, and is named first.
        marks = sorted(self._panel.marks, key=lambda mark: mark.is_efficient)
        cells = [(self._row(mark.y), self._column(mark.x)) for mark in marks]
        taken = set(cells)
        for mark, cell in zip(marks, cells, strict=True):
            self._grid[cell] = (self._symbols[mark.group], self._colors[mark.group])
        for mark, (row, column) in reversed(list(zip(marks, cells, strict=True))):
            text = _ascii(mark.label)
            right, left = (row, column + 2), (row, column - 1 - len(text))
            corners = [(row + down, first) for down in (-1, 1) for first in (column + 1, column - len(text))]
            color = self._colors[mark.group]
            if not any(self._write(*first, text, color, taken) for first in (right, left, *corners)):
                self.unplaced += 1

    def _write(self, row: int, start: int, text: str, color: int | None, taken: set[tuple[int, int]]) -> bool:
        """Writes a text with a cell free of marks and texts on both sides of it, if there is room."""
        if row not in range(_HEIGHT) or start < 0 or start + len(text) > self._width:
            return False
        cells = [(row, column) for column in range(start, start + len(text))]
        if not taken.isdisjoint([(row, start - 1), *cells, (row, start + len(text))]):
            return False
        self._grid.update({cell: (sign, color) for cell, sign in zip(cells, text, strict=True)})
        taken.update(cells)
        return True

    def _line(self, start: tuple[float, float], end: tuple[float, float], sign: str, color: int | None) -> None:
        from_x, from_y, to_x, to_y = (*self._position(*start), *self._position(*end))
        steps = max(1, round(max(abs(to_x - from_x), abs(to_y - from_y))))
        for step in range(steps + 1):
            share = step / steps
            row, column = round(from_y + share * (to_y - from_y)), round(from_x + share * (to_x - from_x))
            if row in range(_HEIGHT) and column in range(self._width):
                self._grid[row, column] = (sign, color)

    def _position(self, x: float, y: float) -> tuple[float, float]:
        return _along(self._x_scale, x, self._width), (_HEIGHT - 1) - _along(self._y_scale, y, _HEIGHT)

    def _row(self, y: float) -> int:
        return round((_HEIGHT - 1) - _along(self._y_scale, y, _HEIGHT))

    def _column(self, x: float) -> int:
        return round(_along(self._x_scale, x, self._width))


def _along(scale: Scale, value: float, cells: int) -> float:
    return scale.position(value) * (cells - 1)


def _keys(keys: Sequence[str], width: int) -> list[str]:
    lines: list[str] = []
    length = 0
    for key in keys:
        room = len(re.sub("\033\\[\\d+m", "", key))  # colors take no room
        if lines and length + 3 + room <= width:
            lines[-1] += f"   {key}"
            length += 3 + room
        else:
            lines.append(key)
            length = room
    return lines


def _colored(text: str, color: int | None) -> str:
    return text if color is None else f"\033[{color}m{text}\033[0m"


def _ascii(text: str) -> str:
    """The text in signs that each take one cell in every terminal."""
    return printable(text).replace(MINUS, "-").replace("†", "!").replace("…", "~").encode("ascii", "replace").decode()


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(_ascii(text), width)
