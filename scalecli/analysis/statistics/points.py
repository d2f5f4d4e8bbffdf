"""The points of a comparison: one figure of each model over another, in groups that a line can be fitted to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scalecli.analysis.rows.comparison import Row
from scalecli.architectures.operators import operators
from scalecli.errors import ConfigurationError, UsageError, nearest
from scalecli.manifest import Manifest
from scalecli.shape import Shape, parse_name

BY = ("architecture", "knob")


@dataclass(frozen=True)
class Point:
    """A row with two known figures of it; `group` is the line that it belongs to.

    `measured_on`: only points that have the same were trained and measured alike (see `Row.measured_for`).
    """

    row: Row
    group: str
    cost: float
    quality: float
    measured_on: tuple = ()


def check_by(by: str) -> str:
    """Returns what points are grouped by, in the form that `points` takes: architecture, knob, or NL and the like.

    Raises:
        UsageError: it is none of them.
    """
    if by.lower() in BY or by.lower() in operators():
        return by.lower()
    known = (*BY, *(code.upper() for code in operators()))
    raise UsageError(f"--by {by}: {', '.join(known)} are accepted{nearest(by.upper(), known)}")


def points(rows: Sequence[Row], cost: str, quality: str, by: str = "architecture") -> list[Point]:
    """The rows that have both figures, as points of the columns `cost` and `quality`.

    By `architecture`: one group per architecture, split by table or runs, by the text of upstream figures, and by
    training data (unless the cost counts that), wherever these differ. By `knob`: series of models that differ in one
    knob and in nothing else, as in Figure 3 of "Scale Efficiently"; a model may be in several. By the name of a knob,
    such as `nl`: only the series of that knob.

    A model that comes twice counts once, and so do runs that have their upstream figure from the same pretraining.
    """
    known = _distinct([row for row in rows if None not in (row.figure(cost), row.figure(quality))], quality)
    conditions = {id(row): _conditions(row, cost, quality) for row in known}
    if by == "architecture":
        # Whatever figures are known of them: a model is in one group by every pair of columns.
        has_origins = len({row.origin for row in rows}) > 1
        grouped = _by_architecture(known, conditions, has_origins)
    else:
        grouped = _by_knob(known, conditions, list(operators()) if by == "knob" else [by])
    return [
        Point(row, group, row.value(cost), row.value(quality), row.measured_for(cost, quality))
        for group, members in grouped.items()
        for row in members
    ]


def groups(points: Sequence[Point]) -> dict[str, list[Point]]:
    """The points of each group, in the order in which the groups first come."""
    return _partition(points, lambda point: point.group)


def measured_alike(points: Sequence[Point]) -> list[Point]:
    """The points that were trained and measured like most of them."""
    kinds = [point.measured_on for point in points]
    usual = max(kinds, key=kinds.count)
    return [point for point in points if point.measured_on == usual]


def shape_of(row: Row) -> Shape | None:
    """A run's shape, or that which a published model's name stands for; None where it stands for none of ours."""
    if row.run is not None:
        return row.run.shape
    try:
        return parse_name(row.model or row.name, row.architecture)
    except ConfigurationError:
        return None


def _distinct(rows: Sequence[Row], quality: str) -> list[Row]:
    """The rows without those that repeat a model or run, or, where that is the quality, its upstream figure."""
    seen: dict[tuple[str, str], list[Row | Manifest]] = {}  # by name and time, so that few are compared as a whole
    kept = []
    later = [row.run is not None and row.run.manifest.kind != "pretrain" for row in rows]
    for index in sorted(range(len(rows)), key=later.__getitem__):
        row = rows[index]
        made: Row | Manifest = row
        if row.run is not None:
            made = (row.run.pretrained if quality == "upstream" else None) or row.run.manifest
        alike = seen.setdefault((made.name, "" if isinstance(made, Row) else made.created), [])
        if made not in alike:
            alike.append(made)
            kept.append(index)
    return [rows[index] for index in sorted(kept)]


def _conditions(row: Row, cost: str, quality: str) -> tuple[str, str]:
    """The text that an upstream figure is of, and the data that the model saw unless the cost counts it."""
    text = (row.upstream_text or "") if "upstream" in (cost, quality) else ""
    return text, next(iter(row.measured_for(cost, quality)[2]), "") or "unknown data"


def _by_architecture(
    rows: Sequence[Row], conditions: Mapping[int, tuple[str, str]], has_origins: bool
) -> dict[str, list[Row]]:
    conditions_of: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        conditions_of.setdefault(row.origin, []).append(conditions[id(row)])

    def name(row: Row) -> str:
        apart = [row.origin] if has_origins else []
        for condition, others in zip(conditions[id(row)], zip(*conditions_of[row.origin], strict=True), strict=True):
            apart += [condition] if len(set(others)) > 1 else []
        return f"{row.architecture} ({', '.join(apart)})" if apart else row.architecture

    return _partition(rows, name)


def _by_knob(
    rows: Sequence[Row], conditions: Mapping[int, tuple[str, str]], codes: Sequence[str]
) -> dict[str, list[Row]]:
    """Every series of models along a knob, of two settings or more, in the order of the knobs.

    Where several knobs are scaled, models of two series may happen to differ in a third knob alone: pairs of models
    that are in longer series are left out.
    """
    shaped = [(row, shape) for row in rows if (shape := shape_of(row)) is not None]
    series_by_knob = {code: _series(shaped, conditions, operator.fields) for code, operator in operators().items()}
    in_longer = {
        id(row) for series in series_by_knob.values() for settings, rows in series if settings > 2 for row in rows
    }
    named_series: dict[str, list[Row]] = {}
    for code in codes:
        series = [
            members
            for settings, members in series_by_knob[code]
            if settings > 2 or any(id(row) not in in_longer for row in members)
        ]
        for members in series:
            name = code.upper() if len(series) == 1 else f"{code.upper()} from {_start(members)}"
            named_series[f"{name} ({len(named_series) + 1})" if name in named_series else name] = members
    return named_series


def _series(
    shaped: Sequence[tuple[Row, Shape]], conditions: Mapping[int, tuple[str, str]], fields: Sequence[str]
) -> list[tuple[int, list[Row]]]:
    """The models that have all the same but `fields`, which a knob sets to one value, and how many values those are."""

    def fixed(pair: tuple[Row, Shape]) -> tuple:
        row, shape = pair
        return row.architecture, row.origin, conditions[id(row)], shape.without(fields)

    set_alike = [pair for pair in shaped if len(_settings(pair[1], fields)) == 1]
    series = [
        (len(set().union(*(_settings(shape, fields) for _, shape in members))), [row for row, _ in members])
        for members in _partition(set_alike, fixed).values()
    ]
    return [(settings, members) for settings, members in series if settings > 1]


def _settings(shape: Shape, fields: Sequence[str]) -> set[Any]:
    return {getattr(shape, field) for field in fields}


def _start(members: Sequence[Row]) -> str:
    """What a series starts from: the name without an operator, which is the shortest."""
    return min((row.name for row in members), key=len)


def _partition(items: Sequence[Any], key: Callable[[Any], Any]) -> dict[Any, list[Any]]:
    members: dict[Any, list[Any]] = {}
    for item in items:
        members.setdefault(key(item), []).append(item)
    return members
