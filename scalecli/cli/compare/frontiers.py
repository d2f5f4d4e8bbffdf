"""Pareto frontiers as tables: who is dominated by whom, and the deeper and narrower alternatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalecli.analysis.advice.deep_narrow import COMPUTED_COSTS, alternatives
from scalecli.analysis.rows.comparison import Row, dominating_rows
from scalecli.cli.output.formats import FOR_PEOPLE
from scalecli.tables import Column, Table

_ALTERNATIVES = (
    Column("instead_of", "Instead of"),
    Column("model", "Deeper, narrower"),
    Column("architecture", "Architecture"),
    Column("cost", "Cost"),
    Column("change_percent", "Cost %", "float"),
    Column("quality", "Quality"),
    Column("difference", "Difference", "float"),
    Column("trained", "Trained"),
)
_NAMES = 2  # dominating models that people see


def frontier_tables(rows: Sequence[Row], costs: Sequence[str], qualities: Sequence[str], format: str) -> list[Table]:
    """Which models are dominated and by which, a column for each cost and quality, and what to take instead."""
    pairs = [(cost, quality) for quality in qualities for cost in costs]
    return [_dominated(rows, pairs, format), _alternatives(rows, pairs)]


def _dominated(rows: Sequence[Row], pairs: Sequence[tuple[str, str]], format: str) -> Table:
    columns = [Column("name", "Name"), Column("source", "Source")]
    cells: list[dict[str, Any]] = [{"name": row.name, "source": row.source} for row in rows]
    for cost, quality in pairs:
        columns.append(Column(f"{cost}:{quality}", f"{cost}: {quality}"))
        for cell, beaten_by in zip(cells, dominating_rows(rows, cost, quality), strict=True):
            names = None if beaten_by is None else [row.name for row in beaten_by]
            cell[f"{cost}:{quality}"] = _text(names) if format in FOR_PEOPLE else names
    notes = ["●: on the Pareto frontier; -: not known, or measured like no other."]
    return Table("dominated_by", "Dominated by: cost: quality", cells, columns, notes=notes)


def _text(names: Sequence[str] | None) -> str:
    if names is None:
        return "-"
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return f"{', '.join(names[:_NAMES])}{more}" if names else "●"


def _alternatives(rows: Sequence[Row], pairs: Sequence[tuple[str, str]]) -> Table:
    cells = [
        {
            "instead_of": each.instead_of,
            "model": each.model,
            "architecture": each.architecture,
            "cost": cost,
            "change_percent": 100 * each.change,
            "quality": quality,
            "difference": each.difference,
            "trained": each.difference is not None,
        }
        for cost, quality in pairs
        for each in alternatives(rows, cost, quality)
    ]
    notes = [
        "Depth before width (Scale Efficiently, section 4.3): deeper and narrower models that cost less and are no "
        "worse, or, not trained yet, the deepest up to 36 layers that costs less. No quality is predicted."
    ]
    unknown = [cost for cost in dict.fromkeys(cost for cost, _ in pairs) if cost not in COMPUTED_COSTS]
    if unknown:
        notes.append(f"Of models that are not trained, {' and '.join(unknown)} is not known.")
    return Table("deep_narrow", "DeepNarrow: instead of", cells, _ALTERNATIVES, notes=notes)
