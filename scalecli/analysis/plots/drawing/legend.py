"""A figure's legend: what its colors, shapes, sizes and lines stand for, in one column."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from matplotlib.axes import Axes

from scalecli.analysis.plots.drawing.lettering import INK, LEGEND, line_height, shortened, text_width
from scalecli.analysis.plots.drawing.look import NEUTRAL, LineKind, Look, draw_line, draw_mark
from scalecli.analysis.plots.drawing.palette import Style
from scalecli.analysis.plots.figure import FigureSpec
from scalecli.analysis.plots.scales import round_text

_WIDEST = 150.0  # of a text
_SYMBOL = 20.0  # width of the symbols' column
_GAP = 12.0  # between columns
_RADIUS = 3.2  # of a circle
_LINES: dict[LineKind, str] = {"frontier": "Pareto frontier", "fit": "fitted", "series": "only that knob scaled"}


@dataclass(frozen=True)
class _Entry:
    """One line of the legend; `draw` draws its symbol at the left end (x, y) of the line, and a heading has none."""

    text: str
    draw: Callable[[Axes, float, float], None] | None = None


class Legend:
    """The legend of a figure: how much room it takes, and its drawing. It is one column, or a table of several."""

    def __init__(self, figure: FigureSpec, look: Look) -> None:
        self._entries = _entries(figure, look)
        widths = (text_width(entry.text, LEGEND, entry.draw is None) for entry in self._entries)
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
                style = {"size": LEGEND, "color": INK, "va": "center_baseline"}
                if entry.draw is None:
                    axes.text(x, middle, entry.text, weight="bold", **style)
                else:
                    axes.text(x + _SYMBOL, middle, entry.text, **style)
                    entry.draw(axes, x, middle)


def _height(entry: _Entry) -> float:
    """A line's height; headings stand off from what is above them."""
    return line_height(LEGEND) + (6 if entry.draw is None else 1.5)


def _mark(radius: float, style: Style, is_efficient: bool = False) -> Callable[[Axes, float, float], None]:
    return lambda axes, x, y: draw_mark(axes, x + _SYMBOL / 2 - 1, y, radius, style, is_efficient)


def _line(kind: LineKind, color: str) -> Callable[[Axes, float, float], None]:
    return lambda axes, x, y: draw_line(axes, [(x + 2.0, y), (x + _SYMBOL - 4, y)], kind, color)


def _entries(figure: FigureSpec, look: Look) -> list[_Entry]:
    marked = {mark.group for panel in figure.panels for mark in panel.marks}
    entries = [_Entry(figure.grouping)]
    for group, style in look.styles.items():
        symbol = _mark(_RADIUS * style.relative_size, style) if group in marked else _line("series", style.color)
        entries.append(_Entry(shortened(group, LEGEND, _WIDEST), symbol))
    sizes = look.sizes
    if sizes.differ:
        entries.append(_Entry("Parameters"))
        for count in sizes.examples():
            entries.append(_Entry(round_text(count, "count"), _mark(sizes.diameter(count) / 2, NEUTRAL)))
    kinds = [kind for kind in _LINES if kind in figure.kinds]
    if kinds:
        entries.append(_Entry("Lines"))
        entries += [_Entry(_LINES[kind], _line(kind, look.color(None))) for kind in kinds]
    if "frontier" in kinds:
        entries.append(_Entry("on the frontier", _mark(_RADIUS, NEUTRAL, is_efficient=True)))
    return entries
