"""`scalecli compare --report DIR`: all that a comparison shows, what the runs cost and where they are not alike."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Sequence
from dataclasses import replace

import click

from scalecli.analysis.rows.comparison import Row
from scalecli.cli.compare.analyses import Analyses, analysis_tables
from scalecli.cli.compare.plots import comparison_figure
from scalecli.cli.compare.table import Choice, model_table
from scalecli.cli.output.formats import csv_text
from scalecli.cli.output.terminal import say
from scalecli.errors import UsageError
from scalecli.tables import Table

report_option = click.option(
    "--report",
    type=click.Path(),
    metavar="DIR",
    help="Also write a report: a page of HTML that needs nothing else, the same as Markdown, and its figures.",
)


def write_tables(directory: str, tables: Sequence[Table]) -> None:
    """Writes each table as a CSV file.

    Raises:
        ScalecliError: the directory is not writable.
    """
    from scalecli.storage.files import write_atomically

    for table in tables:
        path = f"{directory.rstrip('/') or '/'}/{table.key}.csv"
        write_atomically(path, csv_text(table))
        say(f"wrote {path}")


def write_comparison(
    directory: str, rows: Sequence[Row], analyses: Analyses, choice: Choice, notes: Sequence[str]
) -> None:
    """Writes the report of a comparison, with all that can be worked out, and prints on stderr what was written.

    Raises:
        ScalecliError: the directory is not writable.
    """
    from scalecli import __version__
    from scalecli.analysis.report.files import write_report
    from scalecli.analysis.report.sections import comparison_report
    from scalecli.cli.options.files import this_command_line
    from scalecli.times import utc_now

    fits = dict.fromkeys((*itertools.product(choice.costs, choice.qualities), *analyses.fits))
    everything = replace(analyses, fits=tuple(fits), agreement=True, pareto=True)
    pictures = [analyses] if analyses.isoflop else []
    for by in ("architecture", "knob" if analyses.by == "architecture" else analyses.by):
        pictures.append(replace(everything, by=by, isoflop=False))
    figures = []
    for picture in pictures:
        with contextlib.suppress(UsageError):  # no models differ in one knob alone, or none has both figures
            figures.append(comparison_figure(rows, picture, choice))
    models = replace(model_table(rows, choice, "table"), notes=notes)
    tables = analysis_tables(rows, everything, choice.costs, choice.qualities, "table")
    made = [f"Made by scalecli {__version__} on {utc_now()[:10]}: {this_command_line()}"]
    report = comparison_report(rows, models, figures, tables, choice.costs, choice.qualities, directory, made)
    for path in write_report(directory, report):
        say(f"wrote {path}")
