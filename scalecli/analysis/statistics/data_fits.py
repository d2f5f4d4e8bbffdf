"""The law of loss over parameters and tokens for each group of a comparison, and what it says of budgets."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from operator import attrgetter

import numpy as np

from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.statistics.data_law import DataLaw, DataLawFit, fit_data_law
from scalecli.analysis.statistics.fits import NO_LOSS, NoFit, loss_of
from scalecli.analysis.statistics.intervals import Interval
from scalecli.analysis.statistics.points import Point, groups, points

COSTS = "parameters,tokens"
_MODELS, _DIFFERENT = 7, 3  # two models more than constants; sizes and amounts of data
_TOO_ALIKE = 0.999  # correlation of log N and log D


@dataclass(frozen=True, kw_only=True)
class Optimum:
    """The parameters and tokens of the least loss for a budget of training FLOPs.

    `is_outside`: whether the models that were fitted are all larger or smaller, or all saw more or less data.
    """

    budget: float
    parameters: Interval
    tokens: Interval
    loss: Interval
    is_outside: bool


@dataclass(frozen=True, kw_only=True)
class DataFit:
    """E + A / N^a + B / D^b of the `n` models of a group: `constants` by these letters.

    `flops_per_product` is the training FLOPs of a parameter and a token, the geometric mean, least and most of the
    models; `residuals` are the models' losses minus the law's.
    """

    group: str
    quality: str
    n: int
    constants: dict[str, Interval]
    flops_per_product: tuple[float, float, float] | None
    optima: tuple[Optimum, ...]
    residuals: tuple[tuple[str, float], ...]


_CONSTANTS = {
    "E": "irreducible",
    "A": "size_scale",
    "B": "data_scale",
    "a": "size_exponent",
    "b": "data_exponent",
}


def fit_data(rows: Sequence[Row], quality: str, budgets: Sequence[float] = ()) -> list[DataFit | NoFit]:
    """The law of each group that has parameters, tokens and `quality`, with the optimum for each budget.

    Without budgets, for that of the group's dearest model.
    """
    known = [point for point in points(rows, "tokens", quality) if point.row.parameters]
    return [_fit(group, members, quality, budgets) for group, members in groups(known).items()]


def not_numbers(rows: Sequence[Row], quality: str) -> list[str]:
    """The names of the rows whose figure is no number, as that of a run that diverged."""
    return [row.name for row in rows if isinstance(value := row.value(quality), float) and not math.isfinite(value)]


def _fit(group: str, members: Sequence[Point], quality: str, budgets: Sequence[float]) -> DataFit | NoFit:
    sizes, data = [float(point.row.parameters or 0) for point in members], [point.cost for point in members]
    losses, fitted = [loss_of(quality, point.quality) for point in members], None
    reason = _refused(sizes, data, losses, quality)
    if not reason:
        fitted = fit_data_law(np.array(sizes), np.array(data), np.array(losses))
        reason = f"{quality} does not level off over parameters and tokens as the law does"
    if fitted is None:
        return NoFit(group=group, cost=COSTS, quality=quality, n=len(members), kind="law of N and D", reason=reason)
    ratio = _flops_per_product(members)
    dearest = [max(point.row.training_flops or 0 for point in members)]
    return DataFit(
        group=group,
        quality=quality,
        n=len(members),
        constants={letter: _estimate(fitted, attrgetter(name)) for letter, name in _CONSTANTS.items()},
        flops_per_product=ratio,
        optima=tuple(_optimum(fitted, budget, ratio[0], sizes, data) for budget in budgets or dearest) if ratio else (),
        residuals=tuple(
            (point.row.name, loss - fitted.law.at(n, d))
            for point, loss, n, d in zip(members, losses, sizes, data, strict=True)
        ),
    )


def _refused(sizes: Sequence[float], data: Sequence[float], losses: Sequence[float], quality: str) -> str:
    """Why no law is fitted, or nothing."""
    if len(losses) < _MODELS:
        return f"it needs {_MODELS} models"
    if min(len(set(sizes)), len(set(data))) < _DIFFERENT:
        return f"it needs {_DIFFERENT} different sizes and {_DIFFERENT} different amounts of data"
    if min(losses) <= 0:
        return NO_LOSS.format(quality)
    if abs(statistics.correlation([math.log(n) for n in sizes], [math.log(d) for d in data])) > _TOO_ALIKE:
        return "tokens are a power of parameters, so that what each does can't be told apart"
    return ""


def _estimate(fit: DataLawFit, figure: Callable[[DataLaw], float]) -> Interval:
    return Interval(figure(fit.law), *fit.interval(figure))


def _flops_per_product(members: Sequence[Point]) -> tuple[float, float, float] | None:
    """Training FLOPs by parameters x tokens: geometric mean, least, most; None where they are not known."""
    ratios = [
        point.row.training_flops / (point.row.parameters * point.cost)
        for point in members
        if point.row.training_flops and point.row.parameters
    ]
    if not ratios:
        return None
    return math.exp(sum(map(math.log, ratios)) / len(ratios)), min(ratios), max(ratios)


def _optimum(
    fit: DataLawFit, budget: float, flops_per_product: float, sizes: Sequence[float], data: Sequence[float]
) -> Optimum:
    product = budget / flops_per_product
    size, amount = fit.law.optimum(product)
    return Optimum(
        budget=budget,
        parameters=_estimate(fit, lambda law: law.optimum(product)[0]),
        tokens=_estimate(fit, lambda law: law.optimum(product)[1]),
        loss=_estimate(fit, lambda law: law.at(*law.optimum(product))),
        is_outside=not (min(sizes) <= size <= max(sizes) and min(data) <= amount <= max(data)),
    )
