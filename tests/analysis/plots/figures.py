"""Figures for the tests: of what is published, and made up."""

from scalecli.analysis.papers.published import find_published
from scalecli.analysis.plots.figure import Axis, FigureSpec, Mark, Panel
from scalecli.analysis.rows.sources import row_of_published


def published_rows(*names):
    return [row_of_published(model) for name in names for model in find_published(name)]


def figure_of(marks, lines=(), title="Quality against cost", **changes):
    """A figure of one panel, with FLOPs over a score."""
    x, y = Axis("flops", "FLOPs", "flops", True), Axis("score", "Score", "float", False)
    panel = Panel("Score against FLOPs", x, y, tuple(marks), tuple(lines))
    return FigureSpec(**{"title": title, "grouping": "Architecture", "panels": (panel,), **changes})


def mark(name="model", x=1e12, y=50.0, group="transformer", **changes):
    return Mark(**{"label": name, "name": name, "source": "run", "group": group, "x": x, "y": y, **changes})
