"""Straight lines and power laws through the points of a comparison, for each group, or the reason why there is none.

The line is that of "Scaling Laws vs Model Architectures", Table 2: quality = intercept + slope * log10(cost), by least
squares. The power law is over the loss that a quality states: what it is itself where less is better, minus a negative
log-perplexity, and what a score lacks to 100.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from scalecli.analysis.papers.findings import Finding, findings_of
from scalecli.analysis.papers.published import published_tables
from scalecli.analysis.rows.comparison import lower_is_better
from scalecli.analysis.statistics.bootstrap import misfit_ratio, resampled
from scalecli.analysis.statistics.points import Point, groups, measured_alike
from scalecli.analysis.statistics.power_law import Curve, fit_curve

PUBLISHED_SLOPES = "architectures/table-2"

_LINE_PARAMETERS, _POWER_PARAMETERS = 2, 3
_SAMPLES, _ALL_UP_TO = 1999, 6  # models: 46,656 samples, which cost milliseconds
NO_LOSS = "{} is neither a loss above 0 nor a score below 100"


@dataclass(frozen=True)
class PublishedSlope:
    """A slope that a paper prints, the table it is in, and what is the matter with it."""

    value: float
    where: str
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class LineFit:
    """quality = intercept + slope * log10(cost) (`is_log`; else of the cost itself), of `n` models of a group.

    `interval` is the slope's, at 95%; `residuals` are the models' qualities minus the line's. `unlike` are the models
    whose figures were not measured like most of the group's (`Row.measured_on`), `slope_without` the line's without
    them, if it can be known.
    """

    group: str
    cost: str
    quality: str
    n: int
    slope: float
    intercept: float
    interval: tuple[float, float]
    residuals: tuple[tuple[str, float], ...]
    is_log: bool = True
    published: PublishedSlope | None = None
    unlike: tuple[str, ...] = ()
    slope_without: float | None = None

    def at(self, cost: float) -> float:
        """The line's quality at a cost."""
        return self.intercept + self.slope * (math.log10(cost) if self.is_log else cost)


@dataclass(frozen=True, kw_only=True)
class PowerFit:
    """loss = irreducible + scale * cost^-exponent, of `n` models of a group (see `power_law`).

    Where more is the better cost, as of steps per second, the law is of 1 / cost. `interval` is the exponent's, at 95%;
    `residuals` are the models' qualities minus the curve's.
    """

    group: str
    cost: str
    quality: str
    n: int
    curve: Curve
    residuals: tuple[tuple[str, float], ...]

    @property
    def limit(self) -> float:
        """The quality at infinite cost."""
        return quality_of(self.quality, self.curve.irreducible)

    def at(self, cost: float) -> float:
        """The curve's quality at a cost."""
        return quality_of(self.quality, self.curve.at(dearness(self.cost, cost)))


@dataclass(frozen=True, kw_only=True)
class NoFit:
    """Why a group of `n` models has no fit of a kind."""

    group: str
    cost: str
    quality: str
    n: int
    kind: Literal["line", "power law", "law of N and D"]
    reason: str


def fit_lines(points: Sequence[Point], cost: str, quality: str, is_log: bool = True) -> list[LineFit | NoFit]:
    """A line through each group of points of the columns `cost` and `quality`."""
    return [_line(group, members, cost, quality, is_log) for group, members in groups(points).items()]


def fit_powers(points: Sequence[Point], cost: str, quality: str) -> list[PowerFit | NoFit]:
    """A power law through each group of points of the columns `cost` and `quality`."""
    return [_power(group, members, cost, quality) for group, members in groups(points).items()]


def rms(residuals: Sequence[tuple[str, float]]) -> float:
    """The root of the mean squared residual."""
    return math.sqrt(sum(value**2 for _, value in residuals) / len(residuals))


def _line(group: str, points: Sequence[Point], cost: str, quality: str, is_log: bool) -> LineFit | NoFit:
    reason = _too_few(points, _LINE_PARAMETERS, "a line")
    if not reason and is_log and min(point.cost for point in points) <= 0:
        reason = f"{cost} is not above 0 everywhere, so that it has no logarithm"
    if reason:
        return NoFit(group=group, cost=cost, quality=quality, n=len(points), kind="line", reason=reason)
    x, y = _arrays(points, is_log)
    slope, intercept, misfit = _least_squares(x, y)
    residuals = y - intercept - slope * x
    slopes, _, best = _least_squares(x, resampled(y - residuals, residuals, _SAMPLES, _ALL_UP_TO))
    spread = ((x - x.mean()) ** 2).sum()
    ratio = misfit_ratio(best + (slopes - slope) ** 2 * spread, best)
    margin = math.sqrt(ratio * misfit / spread)
    alike = measured_alike(points)
    has_slope_without = len(alike) < len(points) and len({point.cost for point in alike}) > _LINE_PARAMETERS
    return LineFit(
        group=group,
        cost=cost,
        quality=quality,
        n=len(points),
        slope=float(slope),
        intercept=float(intercept),
        interval=(float(slope - margin), float(slope + margin)),
        residuals=_named(points, residuals),
        is_log=is_log,
        published=_published_slope(group, points[0].row.architecture, cost, quality),
        unlike=tuple(point.row.name for point in points if point not in alike),
        slope_without=float(_least_squares(*_arrays(alike, is_log))[0]) if has_slope_without else None,
    )


def _power(group: str, points: Sequence[Point], cost: str, quality: str) -> PowerFit | NoFit:
    losses, curve = [loss_of(quality, point.quality) for point in points], None
    reason = _too_few(points, _POWER_PARAMETERS, "a power law")
    if not reason and min(point.cost for point in points) <= 0:
        reason = f"{cost} is not above 0 everywhere"
    if not reason and min(losses) <= 0:
        reason = NO_LOSS.format(quality)
    if not reason:
        curve = fit_curve(np.array([dearness(cost, point.cost) for point in points]), np.array(losses))
        reason = f"{quality} does not level off over {cost} as a power law does"
    if curve is None:
        return NoFit(group=group, cost=cost, quality=quality, n=len(points), kind="power law", reason=reason)
    fit = PowerFit(group=group, cost=cost, quality=quality, n=len(points), curve=curve, residuals=())
    return replace(fit, residuals=_named(points, [point.quality - fit.at(point.cost) for point in points]))


def _too_few(points: Sequence[Point], parameters: int, what: str) -> str:
    """Says that points are too few, or nothing: two more than parameters, so that the interval means something."""
    if len(points) < parameters + 2:
        return f"{what} needs {parameters + 2} models"
    if len({point.cost for point in points}) <= parameters:
        return f"{what} needs {parameters + 1} different costs"
    return ""


def _arrays(points: Sequence[Point], is_log: bool) -> tuple[np.ndarray, np.ndarray]:
    """Costs, or log10 of them, and qualities, each [models]."""
    costs = np.array([point.cost for point in points], float)
    return np.log10(costs) if is_log else costs, np.array([point.quality for point in points], float)


def _least_squares(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Slope, intercept and squared misfit of the lines through [..., models] of `y` over `x` [models]."""
    centered = x - x.mean()
    rise = y - y[..., :1]  # so that equal qualities have a slope of 0, not one by rounding
    slope = (centered * rise).sum(-1) / (centered**2).sum()
    mean = rise.mean(-1)
    misfit = ((rise - mean[..., None] - slope[..., None] * centered) ** 2).sum(-1)
    return slope, y[..., 0] + mean - slope * x.mean(), misfit


def _named(points: Sequence[Point], residuals: Sequence[float]) -> tuple[tuple[str, float], ...]:
    return tuple((point.row.name, float(value)) for point, value in zip(points, residuals, strict=True))


def _published_slope(group: str, architecture: str, cost: str, quality: str) -> PublishedSlope | None:
    """What the papers print for the sizes of an architecture; None for series along one knob."""
    if group.partition(" ")[0] != architecture:
        return None
    figure = f"{cost}_{quality}"
    for row in published_tables()[PUBLISHED_SLOPES]:
        if row.architecture == architecture and figure in row.traits:
            findings = tuple(finding for finding in findings_of(row) if figure in finding.figures)
            return PublishedSlope(row.traits[figure], PUBLISHED_SLOPES, findings)
    return None


def dearness(cost: str, value: float) -> float:
    """A cost as a number that is higher for what costs more: steps per second as seconds per step."""
    return value if lower_is_better(cost) else 1 / value


def loss_of(quality: str, value: float) -> float:
    """The loss that a quality states: less is better, and 0 is best."""
    if lower_is_better(quality):
        return value
    best = 0.0 if quality == "upstream" or quality.endswith("log_perplexity") else 100.0
    return best - value


def quality_of(quality: str, loss: float) -> float:
    """The quality that a loss stands for."""
    return loss_of(quality, loss)  # which is its own inverse
