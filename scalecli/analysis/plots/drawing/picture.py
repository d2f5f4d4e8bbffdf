"""A figure as matplotlib draws it. Import this module only to draw: matplotlib takes half a second.

All is laid out in points (1/72 inch) before it is drawn, so that a picture is the same at every resolution.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox

from scalecli.analysis.plots.drawing.legend import Legend
from scalecli.analysis.plots.drawing.lettering import (
    AXIS,
    CAPTION,
    GRAY,
    INK,
    PANEL_TITLE,
    SETTINGS,
    TICK,
    TITLE,
    families,
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
_COMPRESSION = 3  # of a PNG: at 6, the default, files are larger and take longer
_PREFIX = "figure"  # of ids

# Without a date or a program's name in the file, the same figure gives the same bytes.
_METADATA: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "svg": dict.fromkeys(("Date", "Creator", "Format", "Type")),
    "pdf": dict.fromkeys(("CreationDate", "Creator", "Producer")),
}


def render(figure: FigureSpec, format: Literal["png", "svg", "pdf"]) -> bytes:
    """The file of a picture, byte for byte the same with the same version of matplotlib and the same fonts.

    Ids in an SVG: `figure-P-M` is mark M of panel P, `figure-P-line-L` line L; with `-label`, `-back` and `-leader`
    after them what belongs to these.
    """
    with _settings(figure, _PREFIX):
        return _saved(_drawn(figure).figure, format)


def render_panels(figure: FigureSpec, prefix: str) -> tuple[list[bytes], int]:
    """An SVG of each panel for a page, and how many labels found no room; ids are as in `render`, after `prefix`.

    What belongs to the whole figure (title, legend, caption) is left to the page.
    """
    with _settings(figure, prefix):
        drawing = _drawn(figure)
        pictures = []
        for axes, room in drawing.panels:
            with _alone(axes):
                pictures.append(_saved(drawing.figure, "svg", room))
    ids, those_of_page = (b'<g id="%s-' % name.encode() for name in (_PREFIX, prefix))
    return [picture.replace(ids, those_of_page) for picture in pictures], drawing.unplaced


@contextlib.contextmanager
def _settings(figure: FigureSpec, salt: str) -> Iterator[None]:
    """Matplotlib's own settings and ours, whatever the user's are."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update({**SETTINGS, "font.family": families(figure.text), "svg.hashsalt": salt})
        # A sign that no font has is drawn as a box; the points' file has every name in full.
        warnings.filterwarnings("ignore", "Glyph .* missing")
        yield


@contextlib.contextmanager
def _alone(axes: Axes) -> Iterator[None]:
    """Hides what else there is on the sheet, until its block ends."""
    others = [part for part in axes.figure.get_children() if part not in (axes, axes.figure.patch)]
    try:
        for part in others:
            part.set_visible(False)
        yield
    finally:
        for part in others:
            part.set_visible(True)


def _saved(drawn: Figure, format: str, room: Bbox | None = None) -> bytes:
    """The file of a figure, or of a part of it."""
    stream = io.BytesIO()
    options = {"pil_kwargs": {"compress_level": _COMPRESSION}} if format == "png" else {}
    drawn.savefig(stream, format=format, dpi=_RESOLUTION, metadata=_METADATA[format], bbox_inches=room, **options)
    return stream.getvalue()


@dataclass(frozen=True)
class _Frame:
    """The room of each panel of a figure: its axes, what is left of, above and below them, and that of all together."""

    width: float
    height: float
    left: float
    above: float
    below: float

    @classmethod
    def of(cls, figure: FigureSpec) -> _Frame:
        is_one = len(figure.panels) == 1  # whose title is the figure's
        return cls(
            *(_ONE if is_one else _SEVERAL),
            left=line_height(AXIS) + max(ticks_width(panel) for panel in figure.panels) + _TICK_AND_PADS,
            above=8 if is_one else line_height(PANEL_TITLE) + 6,
            below=line_height(AXIS) + line_height(TICK) + _TICK_AND_PADS,
        )

    @property
    def column(self) -> float:
        return self.left + self.width + _GAP

    @property
    def row(self) -> float:
        return self.above + self.height + self.below

    def around(self, x: float, y: float) -> Bbox:
        """The room of a panel whose axes have their lower left corner at (x, y), in inches."""
        bounds = (x - self.left, y - self.below - _EDGE / 2, self.column, self.row + _EDGE)
        return Bbox.from_bounds(*(length / 72 for length in bounds))


@dataclass(frozen=True)
class Drawing:
    """A figure as matplotlib has it, the axes and the room of each panel, and how many labels found no room."""

    figure: Figure
    panels: tuple[tuple[Axes, Bbox], ...]
    unplaced: int


def draw(figure: FigureSpec) -> Drawing:
    """The figure for matplotlib; `render` explains the ids and has the settings under which this is called."""
    look, frame = Look(figure), _Frame.of(figure)
    legend = Legend(figure, look)
    rows = -(-len(figure.panels) // figure.columns)
    width = 2 * _EDGE + figure.columns * frame.column
    is_beside = legend.height <= rows * frame.row
    if is_beside:
        width += legend.width
    else:
        legend.lay_out(width - 2 * _EDGE)
    caption = [line for text in figure.caption for line in wrapped(text, CAPTION, width - 2 * _EDGE)]
    # One line more, for what there may be to say about labels.
    bottom = _EDGE + (len(caption) + 1) * line_height(CAPTION)
    base = bottom if is_beside else bottom + legend.height + _EDGE
    top = base + max(rows * frame.row, legend.height + _EDGE if is_beside else 0)
    sheet = _Sheet(width, top + line_height(TITLE) + _EDGE)

    title = shortened(figure.title, TITLE, width - 2 * _EDGE, is_bold=True)
    sheet.write(_EDGE, top + 6, title, TITLE, color=INK, weight="bold")
    panels, unplaced = [], 0
    for index, panel in enumerate(figure.panels):
        down, across = divmod(index, figure.columns)
        x, y = _EDGE + across * frame.column + frame.left, top - (down + 1) * frame.row + frame.below
        axes = sheet.axes(x, y, frame.width, frame.height)
        if len(figure.panels) > 1:
            title = shortened(panel.title, PANEL_TITLE, frame.width, is_bold=True)
            axes.text(0, frame.height + 8, title, size=PANEL_TITLE, color=INK, weight="bold", va="baseline")
        unplaced += draw_panel(axes, panel, look, frame.width, frame.height, f"{_PREFIX}-{index}")
        panels.append((axes, frame.around(x, y)))
    left, upper = (width - _EDGE - legend.width, top) if is_beside else (_EDGE, base - _EDGE / 2)
    room = sheet.axes(left, upper - legend.height, legend.width, legend.height)
    room.axis("off")
    legend.draw(room)
    if unplaced:
        caption.append(no_room(unplaced))
    for index, line in enumerate(caption):
        sheet.write(_EDGE, bottom - (index + 1) * line_height(CAPTION), line, CAPTION, color=GRAY)
    return Drawing(sheet.figure, tuple(panels), unplaced)


def no_room(labels: int) -> str:
    """What is said of labels that found no room."""
    return f"No room for {labels} label{'s' if labels > 1 else ''}: the points' file has all names."


_drawn = lru_cache(maxsize=8)(draw)  # a figure may be saved in several formats, and its panels alone


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
