"""Figures: what they show (`build`), and the forms in which they are drawn. matplotlib is imported to draw alone."""

from scalecli.analysis.plots.build import cost_quality
from scalecli.analysis.plots.figure import Axis, FigureSpec, Line, Mark, Panel, with_lines
from scalecli.analysis.plots.files import check_plot, png, points_csv, write_plot

__all__ = [
    "Axis",
    "FigureSpec",
    "Line",
    "Mark",
    "Panel",
    "check_plot",
    "cost_quality",
    "png",
    "points_csv",
    "with_lines",
    "write_plot",
]
