"""`scalecli compare --report DIR`: all that a comparison shows, what the runs cost and where they are not alike."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import click

from scalecli.analysis.rows.comparison import Row
from scalecli.cli.output.terminal import say
from scalecli.tables import Table

if TYPE_CHECKING:
    from scalecli.analysis.plots import FigureSpec


def report_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--report DIR`, which arrives as the argument `report`."""
    return click.option(
        "--report",
        type=click.Path(),
        metavar="DIR",
        help="Also write a report: a page of HTML that needs nothing else, the same as Markdown, and its figures.",
    )(function)


def write_comparison(
    directory: str,
    rows: Sequence[Row],
    models: Table,
    figures: Sequence[FigureSpec],
    fits: Sequence[Table],
    costs: Sequence[str],
    qualities: Sequence[str],
) -> None:
    """Writes the report of a comparison (see `report.comparison_report`), and prints on stderr what was written.

    Raises:
        ScalecliError: the directory can't be written.
    """
    from scalecli import __version__
    from scalecli.analysis.report import comparison_report, write_report
    from scalecli.cli.options.files import this_command_line
    from scalecli.manifest import utc_now

    made = [f"Made by scalecli {__version__} on {utc_now()[:10]}: {this_command_line()}"]
    report = comparison_report(rows, models, figures, fits, costs, qualities, directory, made)
    for path in write_report(directory, report):
        say(f"wrote {path}")
