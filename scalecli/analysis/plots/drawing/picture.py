"""A figure as matplotlib draws it. Import this module only to draw: matplotlib takes half a second.

All is laid out in points (1/72 inch) before it is drawn, so that a picture is the same at every resolution.
"""

from __future__ import annotations

import io
import warnings
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from scalecli.analysis.plots.drawing.legend import Legend
from scalecli.analysis.plots.drawing.lettering import (
    AXIS,
    CAPTION,
    GREY,
    INK,
    PANEL_TITLE,
    SETTINGS,
    TICK,
    TITLE,
    line_height,
    shortened,
    wrapped,
)
from scalecli.analysis.plots.drawing.look import Look
from scalecli.analysis.plots.drawing.panels import draw_panel, ticks_width
from scalecli.analysis.plots.figure import FigureSpec

_ONE, _SEVERAL = (370.0, 300.0), (310.0, 270.0)  # width and height of the axes of one panel, or of each of several
_EDGE, _GAP = 10.0, 18.0  # around the figure; between panels and legend
_TICK_AND_PADS = 14.0
_RESOLUTION = 200  # dots per inch of a PNG

# Without a date or a program's name in the file, the same figure gives the same bytes.
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}


def render(figure: FigureSpec, format: Literal["png", "svg", "pdf"], prefix: str = "figure") -> bytes:
    """The file of a picture, byte for byte the same with the same version of matplotlib.

    Ids in an SVG: `PREFIX-P-M` is mark M of panel P, `PREFIX-P-line-L` line L; with `-label`, `-back`
    and `-leader` after them what belongs to these.
    """
    stream = io.BytesIO()
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()  # whatever the user's own settings are
        matplotlib.rcParams.update({**SETTINGS, "svg.hashsalt": prefix})
        # A sign that the font hasn't got is drawn as a box; the points' file has every name in full.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        draw(figure, prefix).savefig(stream, format=format, dpi=_RESOLUTION, metadata=_METADATA[format])
    return stream.getvalue()


def draw(figure: FigureSpec, prefix: str = "figure") -> Figure:
    """The figure for matplotlib; `render` explains the ids and has the settings under which this is called."""
    look = Look(figure)
    legend = Legend(figure, look)
    panel_width, panel_height = _ONE if len(figure.panels) == 1 else _SEVERAL
    left = line_height(AXIS) + max(ticks_width(panel) for panel in figure.panels) + _TICK_AND_PADS
    below = line_height(AXIS) + line_height(TICK) + _TICK_AND_PADS
    column = left + panel_width + _GAP
    is_one = len(figure.panels) == 1  # whose title is the figure's
    above = 8 if is_one else line_height(PANEL_TITLE) + 6
    row = above + panel_height + below
    rows = -(-len(figure.panels) // figure.columns)
    width = _EDGE + figure.columns * column + legend.width + _EDGE
    caption = [line for text in figure.caption for line in wrapped(text, CAPTION, width - 2 * _EDGE)]
    # One line more, for what there may be to say about labels.
    bottom = _EDGE + (len(caption) + 1) * line_height(CAPTION)
    top = bottom + max(rows * row, legend.height + _EDGE)
    sheet = _Sheet(width, top + line_height(TITLE) + _EDGE)

    title = shortened(figure.title, TITLE, width - 2 * _EDGE, is_bold=True)
    sheet.write(_EDGE, top + 6, title, TITLE, color=INK, weight="bold")
    unplaced = 0
    for index, panel in enumerate(figure.panels):
        down, across = divmod(index, figure.columns)
        x, y = _EDGE + across * column + left, top - (down + 1) * row + below
        axes = sheet.axes(x, y, panel_width, panel_height)
        if not is_one:
            title = shortened(panel.title, PANEL_TITLE, panel_width, is_bold=True)
            sheet.write(x, y + panel_height + 8, title, PANEL_TITLE, color=INK, weight="bold")
        unplaced += draw_panel(axes, panel, look, panel_width, panel_height, f"{prefix}-{index}")
    beside = sheet.axes(_EDGE + figure.columns * column, top - legend.height, legend.width, legend.height)
    beside.axis("off")
    legend.draw(beside)
    if unplaced:
        caption.append(f"No room for {unplaced} label{'s' if unplaced > 1 else ''}: the points' file has all names.")
    for index, line in enumerate(caption):
        sheet.write(_EDGE, bottom - (index + 1) * line_height(CAPTION), line, CAPTION, color=GREY)
    return sheet.figure


class _Sheet:
    """A figure of matplotlib's on which everything has its place in points."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
        self._width, self._height = width, height

    def axes(self, left: float, bottom: float, width: float, height: float) -> Axes:
        """Axes that count points from their lower left corner."""
        box = (left / self._width, bottom / self._height, width / self._width, height / self._height)
        return self.figure.add_axes(box, xlim=(0, width), ylim=(0, height), autoscale_on=False)

    def write(self, x: float, y: float, text: str, size: float, **style: Any) -> None:
        """A text that begins at (x, y), the left end of its base line."""
        self.figure.text(x / self._width, y / self._height, text, size=size, va="baseline", **style)
