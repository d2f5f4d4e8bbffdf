"""How a figure's marks and lines look, in its panels and in its legend alike."""

from __future__ import annotations

from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scalecli.analysis.plots.drawing.lettering import GRAY, INK
from scalecli.analysis.plots.drawing.palette import Sizes, Style, styles
from scalecli.analysis.plots.figure import FigureSpec

LineKind = Literal["frontier", "fit", "series"]
_LINES: dict[LineKind, dict[str, Any]] = {
    "frontier": {"linewidth": 1.0},
    "fit": {"linewidth": 1.1, "linestyle": (0, (4, 2))},
    "series": {"linewidth": 1.2},
}
_EFFICIENT: dict[str, Any] = {"markeredgecolor": INK, "markeredgewidth": 1.1}
_OTHERS: dict[str, Any] = {"markeredgecolor": "white", "markeredgewidth": 0.4}
NEUTRAL = Style("#BBBBBB", INK, "o", 1.0)


class Look:
    """The styles of a figure's groups and the sizes of its marks; axes count points from their lower left corner."""

    def __init__(self, figure: FigureSpec) -> None:
        self.styles = styles(figure.groups)
        self.sizes = Sizes(mark.parameters for panel in figure.panels for mark in panel.marks)

    def radius(self, group: str, parameters: int | None) -> float:
        """The radius of a mark."""
        return self.sizes.diameter(parameters) * self.styles[group].relative_size / 2

    def color(self, group: str | None) -> str:
        """The color of a group, or of what belongs to all."""
        return GRAY if group is None else self.styles[group].color

    def ink(self, group: str | None) -> str:
        """The color of texts about a group, or about what belongs to all."""
        return GRAY if group is None else self.styles[group].ink


def draw_mark(
    axes: Axes, x: float, y: float, radius: float, style: Style, is_efficient: bool = False, gid: str | None = None
) -> None:
    """Draws a mark, those on the frontier with a dark edge; small ones lie on large ones."""
    edge = _EFFICIENT if is_efficient else _OTHERS
    shape: dict[str, Any] = {"linestyle": "none", "marker": style.marker, "markersize": 2 * radius}
    axes.add_artist(Line2D([x], [y], color=style.color, gid=gid, zorder=4 - radius / 100, **shape, **edge))


def draw_line(
    axes: Axes, corners: list[tuple[float, float]], kind: LineKind, color: str, gid: str | None = None
) -> None:
    """Draws a line from corner to corner."""
    xs, ys = zip(*corners, strict=True)
    axes.add_artist(Line2D(xs, ys, color=color, gid=gid, zorder=2, **_LINES[kind]))
