"""Parabolas of runs of one budget as tables."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.statistics.intervals import Interval
from scalecli.analysis.statistics.isoflop import Exponents, Parabola, fit_isoflop
from scalecli.cli.compare.tables.data_laws import estimate_cells, missing_figures, with_ends
from scalecli.cli.output.formats import FOR_PEOPLE
from scalecli.tables import Column, Table, humanise

_MINIMA = (
    Column("group", "Of"),
    Column("quality", "Quality"),
    Column("budget", "Training FLOPs", "flops"),
    Column("n", "n", "float"),
    Column("parameters", "Best parameters", "count"),
    Column("parameters/interval", "95% interval"),
    Column("tokens", "Tokens", "count"),
    Column("tokens/interval", "95% interval"),
    Column("loss", "Loss", "float"),
    Column("loss/interval", "95% interval"),
)
_EXPONENTS = (
    Column("group", "Of"),
    Column("quality", "Quality"),
    Column("budgets", "Budgets", "float"),
    Column("parameters", "Parameters", "float"),
    Column("parameters/interval", "95% interval"),
    Column("tokens", "Tokens", "float"),
    Column("tokens/interval", "95% interval"),
)


def isoflop_tables(rows: Sequence[Row], qualities: Sequence[str], format: str) -> list[Table]:
    """A table of the best size for each budget, and one of the exponents; for programs with what has none, and why."""
    fits = [fit for quality in qualities for fit in fit_isoflop(rows, quality)]
    parabolas = [parabola for own, _ in fits for parabola in own]
    exponents = [own for _, own in fits]
    titles = ("Best size for a budget: minima of parabolas", "Exponents of the best size over training FLOPs")
    cells = [{**_cells(own), "n": len(own.runs)} for own in parabolas], [_cells(own) for own in exponents]
    if format not in FOR_PEOPLE:
        columns = with_ends(_MINIMA), with_ends(_EXPONENTS)
        reason = Column("reason", "reason")
        return [
            Table(key, title, own, [*shown, reason])
            for key, title, own, shown in zip(("isoflop", "isoflop_exponents"), titles, cells, columns, strict=True)
        ]
    minima, best = ([cell for cell in own if not cell["reason"]] for own in cells)
    refused = [f"{own.group}: {own.reason}" for own in exponents if own.reason]
    return [
        Table("isoflop", titles[0], minima, _MINIMA, notes=_notes(rows, qualities, parabolas, bool(minima))),
        Table("isoflop_exponents", titles[1], best, _EXPONENTS, notes=refused),
    ]


def _cells(result: Parabola | Exponents) -> dict[str, Any]:
    """The fields of a result, its estimates with their intervals."""
    cells = {**vars(result), "reason": result.reason or None}
    for key in ("parameters", "tokens", "loss"):
        if isinstance(estimate := cells.get(key), Interval):
            is_count = key != "loss" and isinstance(result, Parabola)
            cells |= estimate_cells(key, estimate, counts=is_count)
    return cells


def _notes(rows: Sequence[Row], qualities: Sequence[str], parabolas: Sequence[Parabola], has_minima: bool) -> list[str]:
    """Which budgets have no minimum and why, and what the figures are."""
    budgets: dict[tuple[str, str], list[str]] = {}
    for parabola in parabolas:
        if parabola.reason:
            own = f"{humanise(parabola.budget, 'flops')} (n = {len(parabola.runs)})"
            budgets.setdefault((parabola.group, parabola.reason), []).append(own)
    lines = [f"no minimum: {group}: {', '.join(own)}: {reason}" for (group, reason), own in budgets.items()]
    fitted = {parabola.quality for parabola in parabolas}
    lines += missing_figures(rows, qualities, fitted, "runs have parameters, training FLOPs")
    if has_minima:
        lines.append(
            "Runs whose training FLOPs are within 10% of each other are of one budget. 95% intervals: parabolas drawn "
            "with noise as large as the runs leave it open; '-' is not known, or without an end."
        )
    return lines
