"""Lines and power laws as tables, and as lines of a picture."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from scalecli.analysis.plots.figure import Line
from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.statistics.fits import LineFit, NoFit, PowerFit, fit_lines, fit_powers, rms
from scalecli.analysis.statistics.points import Point, groups, points
from scalecli.cli.compare.notes import finding_lines
from scalecli.cli.output.formats import FOR_PEOPLE
from scalecli.tables import Column, Table, keyed

_PAIR = (Column("cost", "Cost"), Column("quality", "Quality"))
_GROUP = (Column("group", "Of"), Column("n", "n", "float"))
_DEVIATIONS = (Column("rms", "RMS residual", "float"), Column("furthest", "Furthest from it"))
_LINE = (
    Column("slope", "Slope", "float"),
    Column("interval", "95% interval"),
    Column("published", "Published", "float"),
)
_POWER = (
    Column("exponent", "Exponent", "float"),
    Column("interval", "95% interval"),
    Column("limit", "At infinite cost", "float"),
)
_LINE_KEYS = ("slope", "low", "high", "intercept", "published", "published_in", "unlike", "slope_without")
_POWER_KEYS = ("exponent", "low", "high", "scale", "irreducible", "limit")
_STEPS_OF_A_CURVE = 32


def fit_tables(rows: Sequence[Row], pairs: Sequence[tuple[str, str]], by: str, format: str) -> list[Table]:
    """A table of the lines and one of the power laws of every pair of a cost and a quality."""
    known = [(points(rows, cost, quality, by), cost, quality) for cost, quality in pairs]
    lines = [fit for pair in known for fit in fit_lines(*pair)]
    powers = [fit for pair in known for fit in fit_powers(*pair)]
    nothing = [
        f"nothing to fit: no models have both {cost} and {quality}" + ("" if by == "architecture" else " and one knob")
        for fitted, cost, quality in known
        if not fitted
    ]
    return [
        line_table("lines", "Lines: quality over log10(cost)", lines, format, nothing),
        power_table("power_laws", "Power laws: loss = irreducible + scale x cost^-exponent", powers, format),
    ]


def line_table(key: str, title: str, fits: Sequence[LineFit | NoFit], format: str, notes: Sequence[str] = ()) -> Table:
    """Lines as a table: for programs those that there are none of too, for people with the reasons below it."""
    fitted = [fit for fit in fits if isinstance(fit, LineFit)]
    if format not in FOR_PEOPLE:
        return _for_programs(key, title, fits, _LINE_KEYS)
    cells = [_line_cells(fit) for fit in fitted]
    below = [*notes, *_reasons(fits), *_line_notes(fitted)]
    return Table(key, title, cells, [*_pair_columns(fits), *_GROUP, *_LINE, *_DEVIATIONS], notes=below)


def power_table(key: str, title: str, fits: Sequence[PowerFit | NoFit], format: str) -> Table:
    """Power laws as a table, as `line_table`."""
    fitted = [fit for fit in fits if isinstance(fit, PowerFit)]
    if format not in FOR_PEOPLE:
        return _for_programs(key, title, fits, _POWER_KEYS)
    cells = [_power_cells(fit) for fit in fitted]
    below = _reasons(fits)
    if fitted:
        below.append(
            "Loss: minus the upstream figure, or 100 minus a score. Huber's loss. 95% intervals of the exponents: "
            "Studentized bootstrap over the models."
        )
    if any(fit.cost == "steps_per_s" for fit in fitted):
        below.append("The cost of steps_per_s is seconds a step.")
    return Table(key, title, cells, [*_pair_columns(fits), *_GROUP, *_POWER, *_DEVIATIONS], notes=below)


def drawn_lines(rows: Sequence[Row], cost: str, quality: str, by: str) -> list[Line]:
    """The fitted lines for a picture, each as far as its points reach and with its slope."""
    fitted_points = points(rows, cost, quality, by)
    members = groups(fitted_points)
    lines = []
    for fit in fit_lines(fitted_points, cost, quality):
        if isinstance(fit, LineFit):
            xs = _costs_between(members[fit.group])
            ys = tuple(fit.at(x) for x in xs)
            lines.append(Line("fit", xs, ys, fit.group, f"{fit.slope:.2f}"))
    return lines


def _costs_between(members: Sequence[Point]) -> tuple[float, ...]:
    """From the least to the greatest cost, so many that what is straight over the logarithm is drawn right anywhere."""
    low, high = (math.log(extreme(point.cost for point in members)) for extreme in (min, max))
    return tuple(math.exp(low + (high - low) * step / _STEPS_OF_A_CURVE) for step in range(_STEPS_OF_A_CURVE + 1))


def _pair_columns(fits: Iterable[LineFit | PowerFit | NoFit]) -> tuple[Column, ...]:
    """Cost and quality where they are not all the same."""
    pairs = {(fit.cost, fit.quality) for fit in fits}
    return _PAIR if len(pairs) > 1 else ()


def _line_cells(fit: LineFit) -> dict[str, Any]:
    published = fit.published
    return {
        **_common_cells(fit),
        "slope": fit.slope,
        "intercept": fit.intercept,
        **_interval_cells(fit.interval),
        "published": published.value if published else None,
        "published_in": published.where if published else None,
        "unlike": list(fit.unlike),
        "slope_without": fit.slope_without,
    }


def _power_cells(fit: PowerFit) -> dict[str, Any]:
    return {
        **_common_cells(fit),
        "exponent": fit.curve.exponent,
        **_interval_cells(fit.curve.interval),
        "scale": fit.curve.scale,
        "irreducible": fit.curve.irreducible,
        "limit": fit.limit,
    }


def _common_cells(fit: LineFit | PowerFit) -> dict[str, Any]:
    name, furthest = max(fit.residuals, key=lambda pair: abs(pair[1]))
    return {
        "cost": fit.cost,
        "quality": fit.quality,
        "group": fit.group,
        "n": fit.n,
        "rms": rms(fit.residuals),
        "furthest": f"{name} {furthest:+.3g}",
        "residuals": [{"name": name, "residual": value} for name, value in fit.residuals],
        "reason": None,
    }


def _interval_cells(interval: tuple[float, float]) -> dict[str, Any]:
    low, high = interval
    text = f"{low:.3g} to {high:.3g}" if math.isfinite(high) else f"{low:.3g} or more"
    return {"low": low, "high": high, "interval": text}


def _for_programs(key: str, title: str, fits: Sequence[LineFit | PowerFit | NoFit], own: Sequence[str]) -> Table:
    """Every fit, and what has none with the reason."""
    cells = []
    for fit in fits:
        if isinstance(fit, NoFit):
            cells.append({name: getattr(fit, name) for name in ("cost", "quality", "group", "n", "reason")})
            continue
        cells.append(_line_cells(fit) if isinstance(fit, LineFit) else _power_cells(fit))
    keys = ("cost", "quality", "group", "n", *own, "rms", "residuals", "reason")
    return Table(key, title, cells, keyed(*keys))


def _reasons(fits: Iterable[LineFit | PowerFit | NoFit]) -> list[str]:
    """What has no fit, a line for each reason."""
    groups_by_reason: dict[tuple[str, str], list[str]] = {}
    for fit in fits:
        if isinstance(fit, NoFit):
            groups_by_reason.setdefault((fit.kind, fit.reason), []).append(f"{fit.group} (n = {fit.n})")
    return [
        f"no {kind}: {', '.join(dict.fromkeys(names))}: {reason}" for (kind, reason), names in groups_by_reason.items()
    ]


def _line_notes(fits: Sequence[LineFit]) -> list[str]:
    """What the figures of the table are, and what is the matter with some."""
    if not fits:
        return []
    slope = "quality for ten times the cost" if fits[0].is_log else "points of the score per nat"
    lines = [f"Slope: {slope}. 95% intervals: Studentized bootstrap over the models."]
    unlike = [(fit, ", ".join(fit.unlike)) for fit in fits if fit.unlike]
    if unlike:
        texts = [
            names if fit.slope_without is None else f"{names} (slope of {fit.group} without: {fit.slope_without:.3g})"
            for fit, names in unlike
        ]
        lines.append(f"note: not measured like the others of the line: {'; '.join(texts)}")
    published = [fit.published for fit in fits if fit.published]
    if published:
        lines.append(f"Published: {published[0].where}, of the papers' own points.")
    if any(fit.published and fit.quality == "downstream" for fit in fits):
        lines.append("note: the paper prints no unit of its downstream slopes; ours are of scores from 0 to 100.")
    pairs = [(fit.group, finding) for fit in fits if fit.published for finding in fit.published.findings]
    return lines + finding_lines(pairs)
