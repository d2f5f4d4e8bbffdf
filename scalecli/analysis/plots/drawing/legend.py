"""A figure's legend: what its colors, shapes, sizes and lines stand for, in one column."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from matplotlib.axes import Axes

from scalecli.analysis.plots.drawing.lettering import INK, LEGEND, line_height, shortened, text_width
from scalecli.analysis.plots.drawing.look import NEUTRAL, LineKind, Look, draw_line, draw_mark
from scalecli.analysis.plots.figure import FigureSpec
from scalecli.analysis.plots.scales import round_text

_WIDEST = 150.0  # of a text
_SYMBOL = 20.0  # width of the symbols' column
_GAP = 12.0  # between columns
_LINES: dict[LineKind, str] = {"frontier": "Pareto frontier", "fit": "fitted", "series": "only that knob scaled"}


@dataclass(frozen=True)
class _Entry:
    """One line of the legend; `parameters` of a size, `group` of a group's."""

    kind: Literal["heading", "mark", "line", "size", "efficient", "frontier", "fit", "series"]
    text: str
    group: str = ""
    parameters: int | None = None


class Legend:
    """The legend of a figure: how much room it takes, and its drawing. It is one column, or a table of several."""

    def __init__(self, figure: FigureSpec, look: Look) -> None:
        self._look = look
        self._entries = _entries(figure, look)
        widths = (text_width(entry.text, LEGEND, entry.kind == "heading") for entry in self._entries)
        self._column = _SYMBOL + max(widths)
        self.lay_out(self._column)

    def lay_out(self, width: float) -> None:
        """Sets it in as many columns as there is room for, all about as long."""
        most = max(1, int((width + _GAP) // (self._column + _GAP)))
        count = -(-len(self._entries) // most)
        self._columns = [self._entries[start : start + count] for start in range(0, len(self._entries), count)]
        self.width = len(self._columns) * (self._column + _GAP) - _GAP
        self.height = max(sum(map(_height, column)) for column in self._columns)

    def draw(self, axes: Axes) -> None:
        """Draws it into axes that count points, `width` by `height` of them."""
        for index, column in enumerate(self._columns):
            x, y = index * (self._column + _GAP), self.height
            for entry in column:
                y -= _height(entry)
                middle = y + line_height(LEGEND) / 2
                is_heading = entry.kind == "heading"
                style = {"size": LEGEND, "color": INK, "weight": "bold" if is_heading else "normal"}
                axes.text(x if is_heading else x + _SYMBOL, middle, entry.text, va="center_baseline", **style)
                self._symbol(axes, entry, x, middle)

    def _symbol(self, axes: Axes, entry: _Entry, x: float, y: float) -> None:
        middle, ends = x + _SYMBOL / 2 - 1, [(x + 2.0, y), (x + _SYMBOL - 4, y)]
        if entry.kind == "mark":
            style = self._look.styles[entry.group]
            draw_mark(axes, middle, y, 3.2 * style.relative_size, style)
        elif entry.kind == "line":
            draw_line(axes, ends, "series", self._look.color(entry.group))
        elif entry.kind == "size":
            draw_mark(axes, middle, y, self._look.sizes.diameter(entry.parameters) / 2, NEUTRAL)
        elif entry.kind == "efficient":
            draw_mark(axes, middle, y, 3.2, NEUTRAL, is_efficient=True)
        elif entry.kind != "heading":
            draw_line(axes, ends, entry.kind, self._look.color(None))


def _height(entry: _Entry) -> float:
    """A line's height; headings stand off from what is above them."""
    return line_height(LEGEND) + (6 if entry.kind == "heading" else 1.5)


def _entries(figure: FigureSpec, look: Look) -> list[_Entry]:
    marks = [mark for panel in figure.panels for mark in panel.marks]
    marked = {mark.group for mark in marks}
    entries = [_Entry("heading", figure.grouping)]
    for group in figure.groups:
        kind: Literal["mark", "line"] = "mark" if group in marked else "line"
        entries.append(_Entry(kind, shortened(group, LEGEND, _WIDEST), group))
    if look.sizes.differ:
        entries.append(_Entry("heading", "Parameters"))
        examples = look.sizes.examples()
        entries += [_Entry("size", round_text(count, "count"), parameters=count) for count in examples]
    kinds = [kind for kind in _LINES if kind in figure.kinds]
    if kinds:
        entries.append(_Entry("heading", "Lines"))
        entries += [_Entry(kind, _LINES[kind]) for kind in kinds]
    if "frontier" in kinds:
        entries.append(_Entry("efficient", "on the frontier"))
    return entries
