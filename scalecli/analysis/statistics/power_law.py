"""A power law with an irreducible term: loss = irreducible + scale * cost^-exponent.

The form is that of Hestness et al., "Deep Learning Scaling is Predictable, Empirically", 2017, section 3. For a given
exponent the two other numbers follow from a linear fit, so the search is over the exponent alone: a grid of them from
which the best range is looked at more and more closely. Misfit is Huber's, whose threshold comes from the median
deviation, so that one run gone wrong does not bend the curve.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from scalecli.analysis.statistics.bootstrap import misfit_ratio, resampled

_SMALLEST, _LARGEST = 0.01, 3.0
_STARTS = 24  # exponents that are tried at a time
_ZOOMS = 3
_EXACT = 1e-8
_FAR = 120.0  # squared deviation of an exponent, in units of its error, up to which it is looked at closely
_REWEIGHTINGS = 4
_HUBER = 1.345  # standard deviations: 95% efficient where the noise is normal (Huber, 1964)
_MEDIAN_OF_NORMAL = 0.6745
_PARAMETERS = 3
_SAMPLES, _ALL_UP_TO = 499, 5  # models: 3,125 samples
_SEED = 0  # of predictions
_CHUNK = 100_000  # numbers in one array, so that it stays in the cache


@dataclass(frozen=True)
class Curve:
    """loss = irreducible + scale * cost^-exponent, with a 95% interval of the exponent; inf where it has no end."""

    irreducible: float
    scale: float
    exponent: float
    interval: tuple[float, float]

    def at(self, cost: float) -> float:
        """The loss at a cost."""
        return self.irreducible + self.scale * cost**-self.exponent


@dataclass(frozen=True)
class _Profile:
    """The best fit for each exponent of a grid: misfit, irreducible term, scale, each [samples, exponents].

    `deviations` are the losses minus the fit, [samples, exponents, models].
    """

    misfit: np.ndarray
    irreducible: np.ndarray
    scale: np.ndarray
    deviations: np.ndarray


def fit_curve(costs: np.ndarray, losses: np.ndarray) -> Curve | None:
    """Fits the curve; None where no exponent from 0.01 to 3 fits best, so that the losses follow no such law.

    The irreducible term is never below 0.

    Args:
        costs: positive costs, [models], at least 5 models and 4 different costs.
        losses: positive losses, [models].
    """
    middle = np.log(costs).mean()
    x, y = np.log(costs) - middle, losses[None]
    grid = np.geomspace(_SMALLEST, _LARGEST, _STARTS)
    for _ in range(_ZOOMS):
        grid = _closer(grid, _profile(x, y, grid, _thresholds(x, y, grid)).misfit[0], len(losses))
    thresholds = _thresholds(x, y, grid)
    best = int(_profile(x, y, grid, thresholds).misfit[0].argmin())
    if not 0 < best < _STARTS - 1:
        return None
    grid[best] = _least(x, y, grid[best - 1], grid[best + 1], thresholds)
    profile = _profile(x, y, grid, thresholds)
    irreducible, scale = profile.irreducible[0, best], profile.scale[0, best]
    if scale <= 0:
        return None
    fitted = irreducible + scale * np.exp(-grid[best] * x)
    ratio = _bootstrapped_ratio(x, fitted, losses - fitted, grid, best)
    interval = _interval(grid, best, profile.misfit[0], ratio)
    return Curve(float(irreducible), float(scale * math.exp(grid[best] * middle)), float(grid[best]), interval)


def drawn_losses(costs: np.ndarray, losses: np.ndarray, curve: Curve, cost: float) -> np.ndarray:
    """Losses that another model may have, [draws]: off curves that are fitted to models drawn around `curve`.

    The noise is normal, with its variance drawn as `scalecli.analysis.statistics.bootstrap` says.

    Args:
        costs: of the models that the curve was fitted to, [models].
        losses: theirs, [models].
        curve: what `fit_curve` gave for them.
        cost: of the other model.
    """
    middle = np.log(costs).mean()
    x, fitted = np.log(costs) - middle, curve.irreducible + curve.scale * costs**-curve.exponent
    generator, freedom = np.random.default_rng(_SEED), len(costs) - _PARAMETERS
    sizes = np.sqrt(((losses - fitted) ** 2).sum() / generator.chisquare(freedom, _SAMPLES))
    samples = fitted + sizes[:, None] * generator.standard_normal((_SAMPLES, len(costs)))
    grid = np.geomspace(_SMALLEST, _LARGEST, 8 * _STARTS)
    profile = _profile(x, samples, grid, _thresholds(x, samples, grid))
    rows, best = np.arange(_SAMPLES), profile.misfit.argmin(-1)
    power = np.exp(-grid[best] * (math.log(cost) - middle))
    ends = profile.irreducible[rows, best] + profile.scale[rows, best] * power
    return ends + sizes * generator.standard_normal(_SAMPLES)


def _closer(grid: np.ndarray, misfit: np.ndarray, models: int) -> np.ndarray:
    """A grid over the exponents of another one that fit at all, and one step more at each end."""
    fitting = np.flatnonzero(misfit <= misfit.min() * (1 + _FAR / (models - _PARAMETERS)))
    low, high = max(fitting[0] - 1, 0), min(fitting[-1] + 1, len(grid) - 1)
    return np.geomspace(grid[low], grid[high], len(grid))


def _least(x: np.ndarray, y: np.ndarray, low: float, high: float, thresholds: np.ndarray) -> float:
    """The exponent of least misfit between two others, to eight digits."""
    while high > low * (1 + _EXACT):
        grid = np.geomspace(low, high, _STARTS)
        best = int(np.clip(_profile(x, y, grid, thresholds).misfit[0].argmin(), 1, _STARTS - 2))
        low, high = grid[best - 1], grid[best + 1]
    return float(grid[best])


def _bootstrapped_ratio(x: np.ndarray, fitted: np.ndarray, residuals: np.ndarray, grid: np.ndarray, best: int) -> float:
    """The `misfit_ratio` of samples around the fit with the exponent `grid[best]`."""
    samples = resampled(fitted, residuals, _SAMPLES, _ALL_UP_TO)
    chunks = np.array_split(samples, math.ceil(samples.size * len(grid) / _CHUNK))
    misfits = np.concatenate([_profile(x, chunk, grid, _thresholds(x, chunk, grid)).misfit for chunk in chunks])
    return misfit_ratio(misfits[:, best], _minimum(misfits))


def _interval(grid: np.ndarray, best: int, misfit: np.ndarray, ratio: float) -> tuple[float, float]:
    """The exponents whose misfit is by no more than `ratio` above the best, 0 or infinity where the grid has no end."""
    rise = np.sqrt(np.maximum(misfit / max(misfit[best], np.finfo(float).tiny) - 1, 0))
    # Almost straight over the logarithm, so that what lies between two exponents is known too.
    signed = np.where(np.arange(len(grid)) < best, -1, 1) * rise
    ends = np.interp(
        [-math.sqrt(ratio), math.sqrt(ratio)],
        np.maximum.accumulate(signed),
        np.log(grid),
        left=-math.inf,
        right=math.inf,
    )
    low, high = np.exp(ends)
    return float(low), float(high)


def _profile(x: np.ndarray, y: np.ndarray, exponents: np.ndarray, thresholds: np.ndarray) -> _Profile:
    """The best fits for given exponents.

    Args:
        x: logarithms of the costs, [models].
        y: losses, [samples, models].
        exponents: [exponents].
        thresholds: deviations above which one counts less, [samples].
    """
    powers = np.exp(-exponents[:, None] * x)
    limit = thresholds[:, None, None]
    irreducible, scale, deviations = _fitted(powers, y, *_sums(powers, y))
    if np.isinf(limit).all():
        return _Profile((deviations**2).sum(-1), irreducible, scale, deviations)
    for _ in range(_REWEIGHTINGS):
        weights = np.abs(deviations, out=deviations)
        np.divide(limit, np.maximum(weights, limit, out=weights), out=weights)
        irreducible, scale, deviations = _fitted(powers, y, *_weighted_sums(powers, y, weights))
    size = np.abs(deviations)
    near = np.minimum(size, limit)
    huber = (near * (size - near / 2)).sum(-1)
    return _Profile(huber, irreducible, scale, deviations)


def _fitted(
    powers: np.ndarray, y: np.ndarray, power_sums: np.ndarray, loss_sums: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least squares of y = irreducible + scale * power, neither of them below 0.

    Args:
        powers: cost^-exponent, [exponents, models].
        y: losses, [samples, models].
        power_sums: the sums of the weights, times 1, the power and its square, [samples, exponents, 3].
        loss_sums: those of the weights times the loss, times 1 and the power, [samples, exponents, 2].

    Returns:
        The irreducible terms and the scales, [samples, exponents], and y minus the fit, [samples, exponents, models].
    """
    (total, p, pp), (wy, py) = np.moveaxis(power_sums, -1, 0), np.moveaxis(loss_sums, -1, 0)
    scale = (total * py - p * wy) / (total * pp - p**2)
    irreducible = (wy - scale * p) / total
    scale = np.where(irreducible < 0, py / pp, scale)
    irreducible = np.where(scale < 0, wy / total, np.maximum(irreducible, 0))
    scale = np.maximum(scale, 0)
    deviations = scale[..., None] * powers
    deviations += irreducible[..., None]
    return irreducible, scale, np.subtract(y[:, None], deviations, out=deviations)


def _sums(powers: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `_fitted` needs where all weights are 1."""
    power_sums = _bases(powers).sum(-2)
    loss_sums = np.stack([np.broadcast_to(y.sum(-1)[:, None], (len(y), len(powers))), y @ powers.T], axis=-1)
    return np.broadcast_to(power_sums, (len(y), *power_sums.shape)), loss_sums


def _weighted_sums(powers: np.ndarray, y: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `_fitted` needs, of weights [samples, exponents, models]: all samples in two products an exponent."""
    bases = _bases(powers)
    by_exponent = weights.transpose(1, 0, 2)
    power_sums, loss_sums = by_exponent @ bases, (by_exponent * y) @ bases[..., :2]
    return power_sums.transpose(1, 0, 2), loss_sums.transpose(1, 0, 2)


def _bases(powers: np.ndarray) -> np.ndarray:
    """1, the power and its square, [exponents, models, 3]."""
    return np.stack([np.ones_like(powers), powers, powers**2], axis=-1)


def _thresholds(x: np.ndarray, y: np.ndarray, exponents: np.ndarray) -> np.ndarray:
    """Huber's thresholds, [samples]: from median deviations from the best fit, by least squares, then by Huber's loss.

    Least squares alone would not do: a model that is far off pulls that fit to itself, and all others seem far off.
    """
    unbiased = math.sqrt(len(x) / (len(x) - _PARAMETERS)) / _MEDIAN_OF_NORMAL
    rounding = np.finfo(float).eps * np.abs(y).max(-1)
    limits = np.full(len(y), math.inf)
    for _ in range(2):
        profile = _profile(x, y, exponents, limits)
        deviations = profile.deviations[np.arange(len(y)), profile.misfit.argmin(-1)]
        limits = np.maximum(_HUBER * unbiased * np.median(np.abs(deviations), axis=-1), rounding)
    return limits


def _minimum(misfits: np.ndarray) -> np.ndarray:
    """The least misfit of each sample, between the exponents of the grid too, [samples]; `misfits` as in `_Profile`."""
    rows = np.arange(len(misfits))
    lowest = misfits.argmin(-1)
    inside = np.clip(lowest, 1, misfits.shape[1] - 2)
    before, at, after = misfits[rows, inside - 1], misfits[rows, inside], misfits[rows, inside + 1]
    bend = np.maximum(before + after - 2 * at, 0)
    slant = np.minimum(np.abs(before - after), bend)  # no more than that around a minimum
    vertex = at - slant**2 / (8 * np.maximum(bend, np.finfo(float).tiny))
    return np.where(lowest == inside, vertex, misfits[rows, lowest])
