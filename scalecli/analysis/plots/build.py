"""The figures of the papers, made from the rows of a comparison: cost against quality, and scaling knob by knob."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise

from scalecli.analysis.plots.figure import Axis, FigureSpec, Line, Mark, Panel
from scalecli.analysis.rows.comparison import Row, efficient_rows, lower_is_better
from scalecli.analysis.statistics.points import Point, points
from scalecli.costs import BATCHES, CONVENTIONS
from scalecli.errors import UsageError
from scalecli.tables import Kind

_MOST_COLUMNS = 3
_SHARED = "in several series"
_KINDS: dict[str, Kind] = {"parameters": "count", "flops": "flops", "training_flops": "flops", "tokens": "count"}
# What a column is called in a title, and what its axis measures.
_TITLES = {
    "parameters": ("parameters", "Parameters"),
    "flops": ("FLOPs", "FLOPs of one forward pass"),
    "steps_per_s": ("speed", "Training steps per second"),
    "training_flops": ("training FLOPs", "FLOPs of pretraining"),
    "tokens": ("tokens", "Tokens of pretraining"),
    "tokens_per_parameter": ("tokens a parameter", "Tokens of pretraining for each parameter"),
    "device_hours": ("device-hours", "Device-hours of pretraining"),
    "upstream": ("Upstream", "Negative log-perplexity (nats)"),
    "downstream": ("Downstream", "Mean score (0 to 100)"),
    "glue": ("GLUE", "GLUE score (0 to 100)"),
    "superglue": ("SuperGLUE", "SuperGLUE score (0 to 100)"),
    "squad": ("SQuAD", "SQuAD score (0 to 100)"),
}


def cost_quality(
    rows: Sequence[Row], costs: Sequence[str], qualities: Sequence[str], by: str = "architecture"
) -> FigureSpec:
    """A panel for each of the columns `costs` against each of the columns `qualities`.

    By architecture it has the Pareto frontiers, for what figures 1 and 2 of "Scale Efficiently" show; by knob, or by
    the name of one, lines join the models of which only that knob is scaled, as in its figure 3. What `by` may be, and
    what it groups, is explained in `points`.

    Raises:
        UsageError: no row has both a cost and a quality that belong together.
    """
    panels = tuple(_panel(rows, cost, quality, by) for cost in costs for quality in qualities)
    models = len({(mark.source, mark.name) for panel in panels for mark in panel.marks})
    what = panels[0].title if len(panels) == 1 else "Quality against cost"
    by_what = "" if by == "architecture" else ", one knob scaled at a time"
    return FigureSpec(
        title=f"{what}{by_what}: {models} model{'s' if models > 1 else ''}",
        grouping="Architecture" if by == "architecture" else "Knob that is scaled",
        panels=panels,
        columns=min(len(qualities) if len(qualities) > 1 else len(costs), _MOST_COLUMNS),
        caption=tuple(_caption(rows, panels)),
    )


def _caption(rows: Sequence[Row], panels: Sequence[Panel]) -> list[str]:
    texts = []
    if any("flops" in (panel.x.key, panel.y.key) for panel in panels):
        for convention in (name for name in CONVENTIONS if name in {row.flops_convention for row in rows}):
            batch = BATCHES[convention]
            size = f"{batch.sequences} x {batch.inputs} inputs x {batch.targets} targets"
            texts.append(f"FLOPs: convention {convention}, of a batch of {size} where nothing else is said.")
    frontiers = [[line for line in panel.lines if line.kind == "frontier"] for panel in panels]
    if any(frontiers):
        apart = any(len(lines) > 1 for lines in frontiers)
        texts.append(
            "Pareto frontier: for a model on it, no other one is cheaper without being worse"
            f"{'; figures that were not measured alike have frontiers of their own.' if apart else '.'}"
        )
    if any(mark.note for panel in panels for mark in panel.marks):
        texts.append("† The paper contradicts this figure, or counts it in another way: see its note.")
    return texts


def _panel(rows: Sequence[Row], cost: str, quality: str, by: str) -> Panel:
    plotted = points(rows, cost, quality, by)
    if not plotted:
        knob_text = "" if by == "architecture" else " and differ in that knob alone"
        raise UsageError(f"nothing to plot: no models have both {cost} and {quality}{knob_text}")
    groups: dict[int, list[str]] = {}
    for point in plotted:
        groups.setdefault(id(point.row), []).append(point.group)
    drawn = list({id(point.row): point for point in plotted}.values())
    efficient = efficient_rows([point.row for point in drawn], cost, quality)
    is_by_architecture = by == "architecture"
    marks = []
    for point, is_efficient in zip(drawn, efficient, strict=True):
        first, *others = groups[id(point.row)]
        group = _SHARED if others else first
        marks.append(_mark(point, cost, quality, group, is_by_architecture, is_efficient and is_by_architecture))
    marks.sort(key=lambda mark: mark.group == _SHARED)  # named last in the legend
    if is_by_architecture:
        lines = _frontiers(drawn, efficient, cost, quality)
    else:
        names = dict.fromkeys(point.group for point in plotted)
        lines = [_series(name, [point for point in plotted if point.group == name]) for name in names]
    return Panel(
        f"{_titles(quality)[0]} against {_titles(cost)[0]}",
        axis(cost, [mark.x for mark in marks], is_cost=True),
        axis(quality, [mark.y for mark in marks], is_cost=False),
        tuple(marks),
        tuple(lines),
    )


def _mark(point: Point, cost: str, quality: str, group: str, is_by_architecture: bool, is_efficient: bool) -> Mark:
    row = point.row
    notes = [finding.text() for finding in row.findings if not {cost, quality}.isdisjoint(finding.figures)]
    # The color says which architecture it is.
    label = row.name.removeprefix(f"{row.architecture}-") if is_by_architecture else row.name
    return Mark(
        label=f"{label}†" if notes else label,
        name=row.name,
        source=row.source if row.table is None else f"{row.source}/{row.table}",
        group=group,
        x=point.cost,
        y=point.quality,
        parameters=row.parameters,
        is_efficient=is_efficient,
        note="; ".join(notes),
    )


def _titles(key: str) -> tuple[str, str]:
    return _TITLES.get(key, (key, key))


def axis(key: str, values: Sequence[float], is_cost: bool) -> Axis:
    """An axis, logarithmic for costs and losses; where the better direction is not the usual one, its title says so."""
    is_log = min(values) > 0 and (is_cost or lower_is_better(key))
    remarks = ["log scale"] if is_log else []
    if not is_cost or not lower_is_better(key):
        remarks.append(f"{'lower' if lower_is_better(key) else 'higher'} is {'cheaper' if is_cost else 'better'}")
    title = ", ".join([_titles(key)[1], *remarks])
    return Axis(key, title, _KINDS.get(key, "float"), is_log)


def _frontiers(drawn: Sequence[Point], efficient: Sequence[bool], cost: str, quality: str) -> list[Line]:
    """A staircase through the efficient points that were measured alike, on to the costliest of all that were."""
    kinds = list(dict.fromkeys(point.measured_on for point, mark in zip(drawn, efficient, strict=True) if mark))
    is_cheap_low = lower_is_better(cost)
    lines = []
    for kind in kinds:
        alike = [(point, mark) for point, mark in zip(drawn, efficient, strict=True) if point.measured_on == kind]
        steps = sorted({(point.cost, point.quality) for point, mark in alike if mark}, reverse=not is_cheap_low)
        costs = [point.cost for point, _ in alike]
        corners = [steps[0]]
        for (_, before), (x, y) in pairwise([*steps, (max(costs) if is_cheap_low else min(costs), steps[-1][1])]):
            corners += [(x, before), (x, y)]
        xs, ys = zip(*dict.fromkeys(corners), strict=True)
        lines.append(Line("frontier", xs, ys, label=_measured_on(kind, kinds, cost, quality)))
    return lines


def _measured_on(kind: tuple, kinds: Sequence[tuple], cost: str, quality: str) -> str:
    """In what a frontier differs from the others: `64 sequences`, `16 chips`, a text, the data that was seen."""
    texts = []
    for position, key in enumerate((cost, quality)):
        if len({other[position] for other in kinds}) > 1:
            (value,) = kind[position]
            unit = {"flops": "sequences", "steps_per_s": "chips"}.get(key)
            texts.append(str(value) if unit is None else "own devices" if value is None else f"{value} {unit}")
    if len({other[2] for other in kinds}) > 1:
        texts.append(kind[2][0] or "unknown data")
    return ", ".join(texts)


def _series(group: str, members: Sequence[Point]) -> Line:
    """A line through points in the order of their costs; where several cost the same, through their mean."""
    steps = []
    for cost, equal in groupby(sorted((point.cost, point.quality) for point in members), key=lambda step: step[0]):
        qualities = [quality for _, quality in equal]
        steps.append((cost, sum(qualities) / len(qualities)))
    xs, ys = zip(*steps, strict=True)
    return Line("series", xs, ys, group)
