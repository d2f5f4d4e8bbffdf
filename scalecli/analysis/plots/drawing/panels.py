"""One panel of a figure: its frame, lines, marks and labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from scalecli.analysis.plots.drawing.lettering import AXIS, FAINT, GRAY, INK, LABEL, TICK, shortened, text_width
from scalecli.analysis.plots.drawing.look import Look, draw_line, draw_mark
from scalecli.analysis.plots.drawing.placement import Label, place_labels
from scalecli.analysis.plots.figure import Panel
from scalecli.analysis.plots.scales import scales, tick_texts

_MOST_TICKS = (7, 8)
_WIDEST_LABEL = 110.0
_CROWD = 30.0  # marks as near as this crowd a point

Point = tuple[float, float]


@dataclass(frozen=True)
class _Text:
    """A label that wants to stand beside a point: of a mark of a radius, or at the end of a line."""

    text: str
    color: str
    gid: str
    at: Point
    radius: float = 0.0
    is_first: bool = False


def ticks_width(panel: Panel) -> float:
    """The width of the widest text at the left axis."""
    ticks = scales(panel)[1].ticks(_MOST_TICKS[1])
    return max((text_width(text, TICK) for text in tick_texts(ticks, panel.y)), default=0.0)


def draw_panel(axes: Axes, panel: Panel, look: Look, width: float, height: float, prefix: str) -> int:
    """Draws a panel, but for its title, into axes that count points; returns how many labels found no room.

    `prefix` begins the ids of what is drawn, which `render` explains.
    """
    x_scale, y_scale = scales(panel)

    def point(x: float, y: float) -> Point:
        return x_scale.position(x) * width, y_scale.position(y) * height

    _frame(axes, panel, width, height)
    points = [point(mark.x, mark.y) for mark in panel.marks]
    radii = [look.radius(mark.group, mark.parameters) for mark in panel.marks]
    lines = [[point(*corner) for corner in zip(line.xs, line.ys, strict=True)] for line in panel.lines]
    texts = []
    for index, (line, corners) in enumerate(zip(panel.lines, lines, strict=True)):
        gid = f"{prefix}-line-{index}"
        draw_line(axes, corners, line.kind, look.color(line.group), gid)
        inside = [(x, y) for x, y in corners if 0 <= x <= width and 0 <= y <= height]
        if line.label and inside:
            ends = inside[-1], inside[0]
            end = ends[int(np.argmin(_crowds(ends, points)))]
            texts.append(_Text(line.label, look.ink(line.group), gid, end, is_first=True))

    for index, (mark, (x, y), radius) in enumerate(zip(panel.marks, points, radii, strict=True)):
        draw_mark(axes, x, y, radius, look.styles[mark.group], mark.is_efficient, f"{prefix}-{index}")
        ink, is_first = look.ink(mark.group), mark.is_efficient  # the frontier has to be named
        texts.append(_Text(mark.label, ink, f"{prefix}-{index}", (x, y), radius, is_first))
    circles = [(x, y, radius) for (x, y), radius in zip(points, radii, strict=True)]
    return _write(axes, texts, circles, lines, width, height)


def _frame(axes: Axes, panel: Panel, width: float, height: float) -> None:
    x_scale, y_scale = scales(panel)
    x_ticks, y_ticks = x_scale.ticks(_MOST_TICKS[0]), y_scale.ticks(_MOST_TICKS[1])
    axes.set_xticks([x_scale.position(tick) * width for tick in x_ticks], tick_texts(x_ticks, panel.x))
    axes.set_yticks([y_scale.position(tick) * height for tick in y_ticks], tick_texts(y_ticks, panel.y))
    axes.tick_params(labelsize=TICK, colors=INK, length=3, width=0.6)
    axes.grid(color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side, spine in axes.spines.items():
        spine.set_visible(side in ("left", "bottom"))
        spine.set(color=GRAY, linewidth=0.8)
    axes.set_xlabel(shortened(panel.x.title, AXIS, width), size=AXIS, color=INK, labelpad=3)
    axes.set_ylabel(shortened(panel.y.title, AXIS, height), size=AXIS, color=INK, labelpad=3)


def _crowds(points: Sequence[Point], marks: Sequence[Point]) -> list[int]:
    """How many marks crowd each point."""
    near = np.abs(np.reshape(points, (-1, 1, 2)) - np.reshape(marks, (1, -1, 2))) < _CROWD
    crowds: list[int] = near.all(2).sum(1).tolist()
    return crowds


def _write(
    axes: Axes,
    texts: list[_Text],
    marks: list[tuple[float, float, float]],
    lines: list[list[Point]],
    width: float,
    height: float,
) -> int:
    """Writes the texts that find room; returns how many do not."""
    shown = [shortened(text.text, LABEL, _WIDEST_LABEL) for text in texts]
    labels = [
        Label(*text.at, text.radius, text_width(words, LABEL), LABEL * 1.15, text.is_first)
        for text, words in zip(texts, shown, strict=True)
    ]
    placements = place_labels(labels, marks, lines, width, height)
    for text, words, placement in zip(texts, shown, placements, strict=True):
        if placement is None:
            continue
        style = {"size": LABEL, "color": text.color, "ha": "center", "va": "center_baseline", "zorder": 6}
        # What lies behind a text fades.
        back = {"facecolor": "white", "alpha": 0.75, "linewidth": 0, "pad": 0, "gid": f"{text.gid}-back"}
        axes.text(placement.x, placement.y, words, gid=f"{text.gid}-label", bbox=back, **style)
        if placement.leader:
            xs, ys = zip(*placement.leader, strict=True)
            axes.add_artist(Line2D(xs, ys, color=GRAY, linewidth=0.5, gid=f"{text.gid}-leader", zorder=3))
    return placements.count(None)
