"""`scalecli compare --plot FILE`: a comparison as a picture, a page or a plot in the terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from scalecli.analysis.plots.figure import FigureSpec, with_lines
from scalecli.analysis.rows.comparison import Row
from scalecli.cli.compare.analyses import Analyses
from scalecli.cli.compare.table import Choice
from scalecli.cli.output.formats import terminal_width
from scalecli.cli.output.terminal import say
from scalecli.errors import UsageError

_TERMINAL = "-"
_USUAL_WIDTH = 80


plot_option = click.option(
    "--plot",
    multiple=True,
    type=click.Path(allow_dash=True),
    metavar="FILE",
    help="Draw the costs against the qualities: FILE.png, .svg, .pdf, or .html, which hovers and filters; with the "
    "points as CSV beside it. '-' draws in the terminal. Several times for several.",
)


def check_plots(plot: Sequence[str], format: str) -> None:
    """Checks the arguments of `--plot` before anything is read.

    Raises:
        UsageError: no picture has such a suffix, or a plot in the terminal would spoil the output for a program.
    """
    if not plot:
        return
    from scalecli.analysis.plots.files import check_plot

    for path in plot:
        if path != _TERMINAL:
            check_plot(path)
        elif format != "table":
            raise UsageError(f"--plot - draws in the terminal and goes with --format table, not with {format}")


def draw_plots(plot: Sequence[str], figure: FigureSpec) -> None:
    """Draws a figure in each of the forms; prints what was written on stderr.

    Raises:
        ScalecliError: the disk is full or a place is not writable.
    """
    from scalecli.analysis.plots.files import write_plot
    from scalecli.analysis.plots.terminal import terminal_plot

    for path in plot:
        if path == _TERMINAL:
            is_terminal = sys.stdout.isatty()
            width = terminal_width() or _USUAL_WIDTH
            has_colors = is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
            click.echo()
            click.echo(terminal_plot(figure, width, has_colors), nl=False, color=has_colors)
        else:
            for written in write_plot(path, figure):
                say(f"wrote {written}")


def comparison_figure(rows: Sequence[Row], analyses: Analyses, choice: Choice) -> FigureSpec:
    """The picture of --isoflop, of the costs and qualities of --fit with its lines, else of --cost and --quality."""
    from scalecli.analysis.plots.build import cost_quality

    if analyses.isoflop:
        from scalecli.analysis.plots.isoflop import isoflop_figure

        return isoflop_figure(rows, choice.qualities)
    if not analyses.fits:
        return cost_quality(rows, choice.costs, choice.qualities, analyses.by)
    from scalecli.cli.compare.tables.fits import drawn_lines

    costs, qualities = (list(dict.fromkeys(keys)) for keys in zip(*analyses.fits, strict=True))
    figure = cost_quality(rows, costs, qualities, analyses.by)
    for cost, quality in analyses.fits:
        figure = with_lines(figure, cost, quality, drawn_lines(rows, cost, quality, analyses.by))
    return figure
