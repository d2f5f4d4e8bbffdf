"""The report of `scalecli compare --reproduction`: what the papers print beside what is computed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from scalecli.analysis.papers.published import PAPERS, PublishedModel
from scalecli.analysis.papers.reproduction import VERDICTS, Reproduction, Verdict, reproduce
from scalecli.cli.compare.notes import finding_lines
from scalecli.cli.output.formats import FOR_PEOPLE, print_tables
from scalecli.cli.output.terminal import say
from scalecli.tables import Column, Table

_FIGURES = ("parameters", "flops")
_SHORT = f"{next(iter(PAPERS))}/"  # a table alone is one of this paper
_COLUMNS = (
    Column("table", "Table"),
    Column("name", "Name"),
    Column("parameters_printed", "Parameters", "float"),
    Column("parameters_computed", "Computed", "count"),
    Column("parameters_error", "Error", "float"),
    Column("flops_printed", "FLOPs", "float"),
    Column("flops_computed", "Computed", "flops"),
    Column("flops_error", "Error", "float"),
    Column("verdict", "Verdict"),
)
_REASONS = (
    *(Column(f"{key}_{what}", what) for key in _FIGURES for what in ("verdict", "reason", "evidence")),
    Column("conventions", "Conventions"),
)


def print_report(models: Sequence[PublishedModel], format: str) -> None:
    """Prints a line for each row that prints parameters or FLOPs, then reasons and counts.

    People get the reasons and the counts under the table; for programs a row has its reasons, and the counts go to
    stderr.
    """
    rows = [reproduce(model) for model in models if model.printed]
    is_for_people = format in FOR_PEOPLE
    if not rows:
        say("warning: none of these rows prints parameters or FLOPs")
    cells = [_cells(row, is_for_people) for row in rows]
    columns = _COLUMNS if is_for_people else (*_COLUMNS, *_REASONS)
    lines = _counts(rows)
    if is_for_people:
        reasons = (
            (row.model.path.removeprefix(_SHORT), finding)
            for row in rows
            for finding in (*(figure.reason for figure in row.figures), *row.conventions)
            if finding
        )
        lines = [*finding_lines(reasons), *lines]
    print_tables([Table("reproduction", "Reproduction", cells, columns, notes=lines)], format)


def _cells(row: Reproduction, is_for_people: bool) -> dict[str, Any]:
    """A row by column. An error is a share of the print for programs, in percent for people, who see prints as such."""
    cells: dict[str, Any] = {"table": f"{row.model.source}/{row.model.table}", "name": row.model.name}
    for figure in row.figures:
        values = {
            "printed": figure.text if is_for_people else figure.printed,
            "computed": figure.computed,
            "error": f"{100 * figure.error:+.1f}%" if is_for_people else round(figure.error, 6),
            "verdict": figure.verdict,
            "reason": figure.reason and figure.reason.reason,
            "evidence": figure.reason and figure.reason.evidence,
        }
        cells |= {f"{figure.key}_{name}": value for name, value in values.items()}
    conventions = "; ".join(finding.reason for finding in row.conventions) or None
    return {**cells, "verdict": row.verdict, "conventions": conventions}


def _counts(rows: Sequence[Reproduction]) -> list[str]:
    """How many figures, and how many whole rows, agree with the print."""
    counts: dict[str, Counter[Verdict]] = {
        key: Counter(figure.verdict for row in rows for figure in row.figures if figure.key == key) for key in _FIGURES
    }
    counts["rows"] = Counter(row.verdict for row in rows)
    return [_count(name, count) for name, count in counts.items() if count]


def _count(name: str, count: Counter[Verdict]) -> str:
    others = "".join(f", {count[verdict]} {verdict}" for verdict in VERDICTS[2:] if count[verdict])
    match, rounding = count["match"], count["rounding"]
    agree = f"{match + rounding} of {count.total()} agree"
    return f"{name}: {agree} ({match} within 2%, {rounding} within the rounding of the print){others}"
