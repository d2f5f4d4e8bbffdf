"""Pareto frontiers as tables: who is dominated by whom, deeper and narrower alternatives, and a test of depth."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalecli.analysis.advice.deep_narrow import COMPUTED_COSTS, alternatives
from scalecli.analysis.rows.comparison import Row, dominating_rows
from scalecli.analysis.statistics.depth_and_width import depth_tests
from scalecli.cli.output.formats import FOR_PEOPLE
from scalecli.tables import Column, Table, first_few, keyed

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
_DEPTH_KEYS = ("group", "cost", "quality", "shapes", "runs", "noise", "gain", "low", "high", "verdict", "reason")
_DEPTH = (
    Column("group", "Of"),
    Column("cost", "Cost"),
    Column("quality", "Quality"),
    Column("shapes", "Shapes", "float"),
    Column("runs", "Runs", "float"),
    Column("noise", "Noise of"),
    Column("gain", "Gain", "float"),
    Column("interval", "95% interval"),
    Column("verdict", "Verdict"),
)
_NAMES = 2  # dominating models that people see


def frontier_tables(rows: Sequence[Row], costs: Sequence[str], qualities: Sequence[str], format: str) -> list[Table]:
    """Which models are dominated and by which, a column for each cost and quality, and what to take instead."""
    pairs = [(cost, quality) for quality in qualities for cost in costs]
    return [_dominated(rows, pairs, format), _alternatives(rows, pairs), _depth(rows, pairs, format)]


def _dominated(rows: Sequence[Row], pairs: Sequence[tuple[str, str]], format: str) -> Table:
    """For people a column for each pair of a cost and a quality; for programs a row for each model and pair."""
    title = "Dominated by: cost: quality"
    beaten = {pair: dominating_rows(rows, *pair) for pair in pairs}
    names = {
        pair: [None if others is None else [row.name for row in others] for others in stronger]
        for pair, stronger in beaten.items()
    }
    if format not in FOR_PEOPLE:
        keys = ("name", "source", "cost", "quality", "dominated_by")
        long = [
            dict(zip(keys, (row.name, row.source, *pair, names[pair][index]), strict=True))
            for pair in pairs
            for index, row in enumerate(rows)
        ]
        return Table("dominated_by", title, long, keyed(*keys))
    cells: list[dict[str, Any]] = [
        {"name": row.name, "source": row.source, **{":".join(pair): _text(own[index]) for pair, own in names.items()}}
        for index, row in enumerate(rows)
    ]
    columns = [Column(":".join(pair), ": ".join(pair)) for pair in pairs]
    notes = ["●: on the Pareto frontier; -: not known, or measured like no other."]
    columns = [Column("name", "Name"), Column("source", "Source"), *columns]
    return Table("dominated_by", title, cells, columns, notes=notes)


def _interval(low: float | None, high: float | None) -> str | None:
    return None if low is None or high is None else f"{low:.3g} to {high:.3g}"


def _depth(rows: Sequence[Row], pairs: Sequence[tuple[str, str]], format: str) -> Table:
    """Whether depth beats width, tested; programs get what was not tested, too."""
    tests = [test for cost, quality in pairs for test in depth_tests(rows, cost, quality)]
    cells = [{**vars(test), "verdict": test.verdict, "interval": _interval(test.low, test.high)} for test in tests]
    title = "Depth against width at equal cost: gain of twice the depth"
    if format not in FOR_PEOPLE:
        return Table("depth", title, cells, keyed(*_DEPTH_KEYS))
    notes = [
        f"not tested: {test.group}: {test.cost}: {test.quality} ({test.shapes} shapes, {test.runs} runs): {test.reason}"
        for test in tests
        if test.reason
    ]
    notes += [
        f"note: {test.group}: {test.cost}: {test.quality}: shapes are further from the plane than seeds explain"
        for test in tests
        if test.is_bent
    ]
    notes.append(
        "Gain: of the quality, better being more, by quality = a + b log10(cost) + gain log2(layers of both stacks). "
        "Noise: of seeds, or how far the models are from that plane; 95% intervals by Student's t."
    )
    return Table("depth", title, [cell for cell in cells if not cell["reason"]], _DEPTH, notes=notes)


def _text(names: Sequence[str] | None) -> str:
    if names is None:
        return "-"
    return first_few(names, _NAMES) or "●"


def _alternatives(rows: Sequence[Row], pairs: Sequence[tuple[str, str]]) -> Table:
    cells = [
        {
            **vars(alternative),
            "cost": cost,
            "change_percent": 100 * alternative.change,
            "quality": quality,
            "trained": alternative.difference is not None,
        }
        for cost, quality in pairs
        for alternative in alternatives(rows, cost, quality)
    ]
    notes = [
        "Depth before width (Scale Efficiently, section 4.3): deeper and narrower models that cost less and are no "
        "worse, or, not trained yet, the deepest up to 36 layers that costs less. No quality is predicted."
    ]
    unknown = [cost for cost in dict.fromkeys(cost for cost, _ in pairs) if cost not in COMPUTED_COSTS]
    if unknown:
        notes.append(f"Of models that are not trained, {' and '.join(unknown)} is not known.")
    return Table("deep_narrow", "DeepNarrow: instead of", cells, _ALTERNATIVES, notes=notes)
