"""What a figure shows, as plain data: every form of it (picture, page, terminal, CSV) is drawn from the same."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scalecli.tables import Kind


@dataclass(frozen=True)
class Axis:
    """The column `key` along one side of a panel; `kind` is how `scalecli.tables.humanise` writes its numbers."""

    key: str
    title: str
    kind: Kind
    is_log: bool


@dataclass(frozen=True)
class Mark:
    """One model in a panel, at (x, y) in the units of the axes.

    `label` is what stands beside it, `name` and `source` say which model it is. `parameters` set its size, None where
    they are not known. `note` is what is the matter with one of the two figures, or empty.
    """

    label: str
    name: str
    source: str
    group: str
    x: float
    y: float
    parameters: int | None = None
    is_efficient: bool = False
    note: str = ""


@dataclass(frozen=True)
class Line:
    """A line through a panel, from point to point; `group` is whose color it has, None where it is everybody's.

    A frontier is the staircase of what the models on it reach, a fit is a fitted curve, a series joins models of which
    one dimension is scaled. `label` stands at one of its ends.
    """

    kind: Literal["frontier", "fit", "series"]
    xs: tuple[float, ...]
    ys: tuple[float, ...]
    group: str | None = None
    label: str = ""


@dataclass(frozen=True)
class Panel:
    """One pair of axes with its models and lines."""

    title: str
    x: Axis
    y: Axis
    marks: tuple[Mark, ...]
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True)
class FigureSpec:
    """A figure of one or several panels, row by row with `columns` of them in each.

    `grouping` is the legend's title: what models of one color have in common. `caption` are lines below the figure.
    """

    title: str
    grouping: str
    panels: tuple[Panel, ...]
    columns: int = 1
    caption: tuple[str, ...] = ()

    @property
    def groups(self) -> list[str]:
        """The groups of all panels' models and lines, in the order in which they come first."""
        groups: list[str | None] = []
        for panel in self.panels:
            groups += [*(mark.group for mark in panel.marks), *(line.group for line in panel.lines)]
        return [group for group in dict.fromkeys(groups) if group is not None]

    @property
    def text(self) -> str:
        """All that is written in it, as one text."""
        parts = [self.title, self.grouping, *self.caption, *self.groups]
        for panel in self.panels:
            parts += [panel.title, panel.x.title, panel.y.title]
            parts += [mark.label for mark in panel.marks] + [line.label for line in panel.lines]
        return "".join(parts)

    @property
    def kinds(self) -> set[str]:
        """The kinds of lines that it has."""
        return {line.kind for panel in self.panels for line in panel.lines}


def with_lines(figure: FigureSpec, cost: str, quality: str, lines: Sequence[Line]) -> FigureSpec:
    """The figure with more lines over the panels of the columns `cost` and `quality`."""
    panels = (
        replace(panel, lines=(*panel.lines, *lines)) if (panel.x.key, panel.y.key) == (cost, quality) else panel
        for panel in figure.panels
    )
    return replace(figure, panels=tuple(panels))
