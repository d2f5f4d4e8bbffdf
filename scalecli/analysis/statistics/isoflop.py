"""The best size for a budget: parabolas through runs of several sizes that had as many training FLOPs.

Hoffmann et al., "Training Compute-Optimal Large Language Models", 2022, section 3.2 (approach 2): at each budget a
parabola of the loss over log10(parameters), whose minimum is the best size, then a power law of these over the budgets.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.statistics.fits import loss_of, quality_of
from scalecli.analysis.statistics.intervals import LEVEL, Interval, middle_of
from scalecli.analysis.statistics.points import Point, groups, points

_GAP, _SPREAD = 1.1, 1.25  # of neighboring training FLOPs, and of all that count as one budget
_SIZES = 3
_DRAWS, _SEED = 2000, 0


@dataclass(frozen=True, kw_only=True)
class Parabola:
    """The runs of one budget, the geometric mean of their training FLOPs, and the parabola through them.

    `coefficients` are of loss = c0 + c1 x + c2 x^2, x being log10(parameters) less `middle`. `parameters`, `tokens` and
    `loss` are those of its minimum; where it has none, these are None, and `reason` says why.
    """

    group: str
    quality: str
    budget: float
    runs: tuple[Point, ...]
    middle: float = 0.0
    coefficients: tuple[float, float, float] | None = None
    parameters: Interval | None = None
    tokens: Interval | None = None
    loss: Interval | None = None
    reason: str = ""

    @cached_property
    def sizes(self) -> list[int]:
        """The parameters of each run."""
        return [run.row.parameters or 0 for run in self.runs]

    def at(self, parameters: float) -> float:
        """The parabola's quality at a size."""
        assert self.coefficients is not None
        x = math.log10(parameters) - self.middle
        return quality_of(self.quality, sum(c * x**power for power, c in enumerate(self.coefficients)))


@dataclass(frozen=True, kw_only=True)
class Exponents:
    """How the best size and its tokens grow with the budget: exponents over `budgets` minima; or why that is unknown.

    The best size is factor * budget^exponent.
    """

    group: str
    quality: str
    budgets: int
    parameters: Interval | None = None
    tokens: Interval | None = None
    factor: float | None = None
    reason: str = ""


def fit_isoflop(rows: Sequence[Row], quality: str) -> list[tuple[list[Parabola], Exponents]]:
    """The parabolas of each group that has parameters, training FLOPs and `quality`, and the exponents over them."""
    known = [point for point in points(rows, "training_flops", quality) if point.row.parameters and point.row.tokens]
    return [_fit(group, members, quality) for group, members in groups(known).items()]


def _fit(group: str, members: Sequence[Point], quality: str) -> tuple[list[Parabola], Exponents]:
    parabolas = [_parabola(group, budget, quality) for budget in _budgets(members)]
    fitted = [parabola for parabola in parabolas if parabola.coefficients]
    draws = _Draws(fitted)
    solved = [draws.with_minimum(index) for index in range(len(fitted))]
    minima = [index for index, parabola in enumerate(solved) if parabola.parameters]
    exponents = Exponents(group=group, quality=quality, budgets=len(minima))
    if len(minima) < 2:
        exponents = replace(exponents, reason="an exponent needs 2 budgets with a minimum")
    else:
        exponents = draws.with_exponents(exponents, minima)
    without = [parabola for parabola in parabolas if not parabola.coefficients]
    return sorted([*without, *solved], key=lambda parabola: parabola.budget), exponents


def _budgets(members: Sequence[Point]) -> list[list[Point]]:
    """The runs in groups of about as many training FLOPs, from the cheapest up."""
    ordered = sorted(members, key=lambda point: point.cost)
    budgets = [[ordered[0]]]
    for before, point in pairwise(ordered):
        if point.cost <= before.cost * _GAP and point.cost <= budgets[-1][0].cost * _SPREAD:
            budgets[-1].append(point)
        else:
            budgets.append([point])
    return budgets


def _parabola(group: str, runs: Sequence[Point], quality: str) -> Parabola:
    budget = math.exp(sum(math.log(run.cost) for run in runs) / len(runs))
    parabola = Parabola(group=group, quality=quality, budget=budget, runs=tuple(runs))
    if len(set(parabola.sizes)) < _SIZES:
        return replace(parabola, reason=f"a parabola needs {_SIZES} sizes")
    x = np.log10(parabola.sizes)
    bends = np.linalg.lstsq(_powers(x - x.mean()), np.array(_losses(parabola)), rcond=None)[0]
    return replace(parabola, middle=float(x.mean()), coefficients=(float(bends[0]), float(bends[1]), float(bends[2])))


def _losses(parabola: Parabola) -> list[float]:
    return [loss_of(parabola.quality, run.quality) for run in parabola.runs]


def _powers(x: np.ndarray) -> np.ndarray:
    """1, x and x^2, [runs, 3]."""
    return np.stack([np.ones_like(x), x, x**2], axis=1)


def _vertices(coefficients: np.ndarray) -> np.ndarray:
    """Where parabolas of these coefficients, [..., 3], have their minima, [...]; NaN of those that have none."""
    _, c1, c2 = np.moveaxis(coefficients, -1, 0)
    return -c1 / (2 * np.where(c2 > 0, c2, np.nan))


class _Draws:
    """Parabolas as other runs could have given them: normal noise of one size for all budgets of a group.

    Its variance is drawn as `scalecli.analysis.statistics.bootstrap` says. Without any deviation left, as of three runs
    a budget, intervals are not known.
    """

    def __init__(self, parabolas: Sequence[Parabola]) -> None:
        self._parabolas = list(parabolas)
        generator = np.random.default_rng(_SEED)
        designs, fits, misfit, freedom = [], [], 0.0, 0
        for parabola in parabolas:
            design = _powers(np.log10(parabola.sizes) - parabola.middle)
            fitted = design @ np.array(parabola.coefficients)
            misfit += float(((np.array(_losses(parabola)) - fitted) ** 2).sum())
            freedom += max(len(fitted) - 3, 0)
            designs.append(design)
            fits.append(fitted)
        self._is_known = freedom > 0
        noise = np.sqrt(misfit / generator.chisquare(max(freedom, 1), _DRAWS))
        self._coefficients = [
            (fitted + noise[:, None] * generator.standard_normal((_DRAWS, len(fitted)))) @ np.linalg.pinv(design).T
            for design, fitted in zip(designs, fits, strict=True)
        ]

    def with_minimum(self, index: int) -> Parabola:
        """The parabola with its minimum, or with the reason why it has none."""
        parabola = self._parabolas[index]
        assert parabola.coefficients is not None
        c0, c1, c2 = parabola.coefficients
        if c2 <= 0:
            return replace(parabola, reason="the loss does not bend upwards: no minimum")
        vertex = float(_vertices(np.array(parabola.coefficients)))
        size = 10 ** (parabola.middle + vertex)
        if not min(parabola.sizes) < size < max(parabola.sizes):
            edge, beyond = ("smallest", "smaller") if size <= min(parabola.sizes) else ("largest", "larger")
            return replace(parabola, reason=f"best at the {edge} size: no minimum without {beyond} ones")
        drawn_sizes, drawn_tokens = 10 ** self._best(index, self._coefficients[index])
        _, tokens = 10 ** self._best(index, np.array(parabola.coefficients))
        drawn = self._coefficients[index]
        losses = drawn[:, 0] - drawn[:, 1] ** 2 / (4 * np.where(drawn[:, 2] > 0, drawn[:, 2], np.nan))
        return replace(
            parabola,
            parameters=self._estimate(size, drawn_sizes),
            tokens=self._estimate(float(tokens), drawn_tokens),
            loss=self._estimate(c0 - c1**2 / (4 * c2), losses),
        )

    def with_exponents(self, exponents: Exponents, minima: Sequence[int]) -> Exponents:
        """The exponents of the best parameters and tokens over the budgets of these minima."""
        budgets = np.log10([self._parabolas[index].budget for index in minima])
        fitted = {index: np.array(self._parabolas[index].coefficients) for index in minima}
        best = np.array([self._best(index, coefficients) for index, coefficients in fitted.items()])  # [budgets, 2]
        drawn = np.array([self._best(index, self._coefficients[index]) for index in minima])  # [budgets, 2, draws]
        centered = budgets - budgets.mean()
        weights = centered / (centered**2).sum()
        values, samples = weights @ best, np.einsum("b,bkd->kd", weights, drawn)
        return replace(
            exponents,
            parameters=self._estimate(float(values[0]), samples[0]),
            tokens=self._estimate(float(values[1]), samples[1]),
            factor=float(10 ** (best[:, 0].mean() - values[0] * budgets.mean())),
        )

    def _best(self, index: int, coefficients: np.ndarray) -> np.ndarray:
        """log10 of parameters and of tokens, [2, ...], where parabolas of these coefficients have their minima."""
        parabola = self._parabolas[index]
        sizes = np.log10(parabola.sizes) - parabola.middle
        slope, intercept = np.polyfit(sizes, np.log10([run.row.tokens or 1 for run in parabola.runs]), 1)
        x = _vertices(coefficients)
        return np.stack([parabola.middle + x, intercept + slope * x])

    def _estimate(self, value: float, draws: np.ndarray) -> Interval:
        """A figure with its interval, NaN where that is not known or has no end, as some draws have no minimum."""
        if not self._is_known or np.isnan(draws).mean() > (1 - LEVEL) / 2:
            return Interval(value, math.nan, math.nan)
        return Interval(value, *middle_of(draws))
