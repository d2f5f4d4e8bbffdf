"""What a report holds, before it is written in any form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from scalecli.analysis.plots.figure import FigureSpec
from scalecli.tables import Table


@dataclass(frozen=True)
class Section:
    """A part of a report under its own title: paragraphs, then figures, then tables."""

    title: str
    paragraphs: Sequence[str] = ()
    figures: Sequence[FigureSpec] = ()
    tables: Sequence[Table] = ()


@dataclass(frozen=True)
class Report:
    """A title, lines on how the report was made, and sections."""

    title: str
    made: Sequence[str]
    sections: Sequence[Section]

    @property
    def figures(self) -> list[FigureSpec]:
        """All figures, in the order in which they come."""
        return [figure for section in self.sections for figure in section.figures]
