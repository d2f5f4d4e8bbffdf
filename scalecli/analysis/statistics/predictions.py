"""What a model would score: its loss from its cost, then its score from its loss, each with a prediction interval.

The two steps are those of Bhagia et al., "Establishing Task Scaling Laws via Compute-Efficient Model Ladders", 2024.
The loss is on a power law with an irreducible term where five models or more have one, else on the papers' straight
line over log10(cost). The score is on a line in its log-odds over the loss, so that it stays between 0 and 100.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from scalecli.analysis.rows.comparison import Row, lower_is_better
from scalecli.analysis.statistics.fits import PowerFit, dearness, fit_powers
from scalecli.analysis.statistics.intervals import middle_of, students_t
from scalecli.analysis.statistics.points import Point, groups, measured_alike, points
from scalecli.analysis.statistics.power_law import drawn_losses

_FEWEST = 4  # models of a line, two more than its parameters
_DRAWS = 4000
_SEED = 0
_UPSTREAM = "upstream"


@dataclass(frozen=True, kw_only=True)
class Target:
    """A model to predict: its architecture (None: of each that is there), its cost, and its row if it is measured."""

    name: str
    architecture: str | None
    cost: float
    row: Row | None = None


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """A figure predicted from the `n` models of a group, with its 95% prediction interval, and the measured one.

    `form` is what it lies on; `reason` says why nothing is predicted, and then all figures are None. `names` are the
    models that it was fitted to.
    """

    group: str
    model: str
    cost: float
    quality: str
    n: int
    form: Literal["power law", "line", "log-odds over upstream"]
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    measured: float | None = None
    reason: str | None = None
    is_inside: bool = False  # between the costs of the models that it was fitted to


def predict(
    rows: Sequence[Row], cost: str, qualities: Sequence[str], targets: Sequence[Target], held_out: str | None = None
) -> list[Prediction]:
    """Predicts the upstream figure and `qualities` of the targets, from each group of models that are like them.

    With `held_out`, `largest` or a name, what each group predicts is its own model of that name, or the dearest,
    without it and all that cost the same.
    """
    predictions, architectures = [], set()
    for group, members in groups(points(rows, cost, _UPSTREAM)).items():
        alike = measured_alike(members)
        architecture = alike[0].row.architecture
        architectures.add(architecture)
        kept, outs = _without(rows, alike, held_out, cost) if held_out else (alike, [])
        group_targets = [target for target in targets if target.architecture in (None, architecture)]
        for target in (*outs, *group_targets):
            predictions += _ladder(rows, group, kept, target, cost, qualities)
    for target in targets:
        if target.architecture and target.architecture not in architectures:
            predictions += _ladder(rows, target.architecture, [], target, cost, qualities)
    return predictions


def estimated_cost(rows: Sequence[Row], cost: str, flops: float) -> tuple[float, float] | None:
    """A cost of a model by its FLOPs, on a line in logarithms through `rows`, and by what factor these are off it.

    None where no two different models have both.
    """
    known = [
        (math.log(flops_of_row), math.log(value))
        for row in rows
        if (flops_of_row := row.figure("flops")) and (value := row.figure(cost)) and value > 0
    ]
    if len({x for x, _ in known}) < 2:
        return None
    slope, intercept = statistics.linear_regression(*zip(*known, strict=True))
    off = max(abs(y - intercept - slope * x) for x, y in known)
    return math.exp(intercept + slope * math.log(flops)), math.exp(off)


def _without(
    rows: Sequence[Row], members: Sequence[Point], held_out: str, cost: str
) -> tuple[list[Point], list[Target]]:
    """The models that are kept, and the one that is held out, which may be named by a run that was made from it."""
    out: Point | None
    if held_out == "largest":
        sign = 1 if lower_is_better(cost) else -1
        out = max(members, key=lambda point: sign * point.cost)
    else:
        named = [row for row in rows if row.name == held_out]
        out = next((point for point in members if any(_is_of(row, point.row) for row in named)), None)
    if out is None:
        return list(members), []
    name = out.row.name if held_out == "largest" else held_out
    target = Target(name=name, architecture=out.row.architecture, cost=out.cost, row=out.row)
    return [point for point in members if point.cost != out.cost], [target]


def _ladder(
    rows: Sequence[Row], group: str, members: Sequence[Point], target: Target, cost: str, qualities: Sequence[str]
) -> list[Prediction]:
    """The loss, and the scores that follow from it."""
    costs = [point.cost for point in members]
    common: dict[str, Any] = {
        "group": group,
        "model": target.name,
        "cost": target.cost,
        "is_inside": bool(costs) and min(costs) <= target.cost <= max(costs),
    }
    loss = Prediction(
        quality=_UPSTREAM, n=len(members), form="line", measured=_measured(rows, target, _UPSTREAM), **common
    )
    loss, draws = _predicted_loss(loss, members, target, cost)
    predictions = [loss]
    for quality in qualities:
        scored = _scored(rows, members, target, quality)
        score = Prediction(
            quality=quality,
            n=len(scored),
            form="log-odds over upstream",
            measured=_measured(rows, target, quality),
            **common,
        )
        predictions.append(_predicted_score(score, scored, loss, draws))
    return predictions


def _predicted_loss(
    prediction: Prediction, members: Sequence[Point], target: Target, cost: str
) -> tuple[Prediction, np.ndarray | None]:
    """The upstream figure, and draws of it."""
    if len({point.cost for point in members}) < _FEWEST:
        return replace(prediction, reason=f"it needs {_FEWEST} models of different costs"), None
    if min(target.cost, *(point.cost for point in members)) <= 0:
        return replace(prediction, reason=f"{cost} is not above 0 everywhere"), None
    (power,) = fit_powers([replace(point, group="") for point in members], cost, _UPSTREAM)
    if isinstance(power, PowerFit):
        costs = np.array([dearness(cost, point.cost) for point in members])
        losses = -np.array([point.quality for point in members])
        draws = np.minimum(-drawn_losses(costs, losses, power.curve, dearness(cost, target.cost)), 0.0)
        low, high = middle_of(draws)
        return replace(prediction, form="power law", predicted=power.at(target.cost), low=low, high=high), draws
    line = _Line.through([math.log10(point.cost) for point in members], [point.quality for point in members])
    x = math.log10(target.cost)
    value, margin = float(line.at(np.array(x))), line.margin(x)
    if value > 0:
        return replace(prediction, reason=f"the line leads to {value:.3g}, and no model reaches more than 0"), None
    draws = np.minimum(line.draws(np.full(_DRAWS, x), np.random.default_rng(_SEED)), 0.0)
    return replace(prediction, predicted=value, low=value - margin, high=min(value + margin, 0.0)), draws


def _predicted_score(
    prediction: Prediction, scored: Sequence[tuple[float, float]], loss: Prediction, draws: np.ndarray | None
) -> Prediction:
    """A score from the loss that was predicted, and from the draws of it."""
    if draws is None or loss.predicted is None:
        return replace(prediction, reason="its upstream figure is not predicted")
    if len({upstream for upstream, _ in scored}) < _FEWEST:
        return replace(prediction, reason=f"it needs {_FEWEST} models with upstream and {prediction.quality}")
    if not all(0 < score < 100 for _, score in scored):
        return replace(prediction, reason=f"{prediction.quality} is not between 0 and 100 everywhere")
    log_odds = [math.log(score / (100 - score)) for _, score in scored]
    line = _Line.through([upstream for upstream, _ in scored], log_odds)
    if line.slope <= 0:
        return replace(prediction, reason=f"{prediction.quality} does not rise with upstream")
    low, high = middle_of(_score(line.draws(draws, np.random.default_rng(_SEED + 1))))
    return replace(prediction, predicted=float(_score(line.at(np.array(loss.predicted)))), low=low, high=high)


def _scored(rows: Sequence[Row], members: Sequence[Point], target: Target, quality: str) -> list[tuple[float, float]]:
    """Upstream figures and scores of the models, wherever in the comparison the score of a model stands."""
    first = members[0].row if members else None
    return [
        (float(row.upstream or 0), float(row.value(quality)))
        for row in rows
        if first is not None
        and row.figure("upstream") is not None
        and row.figure(quality) is not None
        and (row.architecture, row.origin, row.upstream_text) == (first.architecture, first.origin, first.upstream_text)
        and any(_is_of(row, point.row) for point in members)
    ]


def _measured(rows: Sequence[Row], target: Target, quality: str) -> float | None:
    """The figure of a model that is held out, or of the run that was finetuned from it."""
    if target.row is None:
        return None
    figures = (row.figure(quality) for row in rows if _is_of(row, target.row))
    return next((figure for figure in figures if figure is not None), None)


def _is_of(row: Row, model: Row) -> bool:
    """Whether a row is of a model, or of a run that was made from it."""
    if row is model:
        return True
    return row.run is not None and model.run is not None and row.run.pretrained == model.run.pretrained is not None


@dataclass(frozen=True)
class _Line:
    """A straight line by least squares, and what is needed for prediction intervals under normal noise."""

    slope: float
    intercept: float
    n: int
    mean: float
    spread: float
    deviation: float

    @classmethod
    def through(cls, xs: Sequence[float], ys: Sequence[float]) -> _Line:
        slope, intercept = statistics.linear_regression(xs, ys)
        misfit = sum((y - intercept - slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
        mean, spread = statistics.fmean(xs), statistics.pvariance(xs) * len(xs)
        return cls(slope, intercept, len(xs), mean, spread, math.sqrt(misfit / (len(xs) - 2)))

    def at(self, x: np.ndarray) -> np.ndarray:
        return self.intercept + self.slope * x

    def margin(self, x: float) -> float:
        """Half of the 95% prediction interval."""
        return float(students_t(self.n - 2) * self._error(x))

    def draws(self, x: np.ndarray, generator: np.random.Generator) -> np.ndarray:
        """What other models may have at `x`, one for each."""
        return self.at(x) + self._error(x) * generator.standard_t(self.n - 2, size=len(x))

    def _error(self, x: float | np.ndarray) -> float | np.ndarray:
        return self.deviation * (1 + 1 / self.n + (x - self.mean) ** 2 / self.spread) ** 0.5


def _score(log_odds: np.ndarray) -> np.ndarray:
    from scipy.special import expit

    return 100 * expit(log_odds)
