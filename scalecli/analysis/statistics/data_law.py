"""The loss over model size and data together: L(N, D) = E + A / N^a + B / D^b.

The form and its fit are those of Hoffmann et al., "Training Compute-Optimal Large Language Models", 2022, section 3.3:
Huber's loss with a threshold of 0.001 on the logarithm of L, from many starts, by L-BFGS. What Besiroglu et al.,
"Chinchilla Scaling: A replication attempt", 2024, found wrong in the published figures is done otherwise: the
objective is a sum, in units of its threshold, so that the optimizer does not stop early, and nothing is rounded.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from operator import itemgetter

import numpy as np

from scalecli.analysis.statistics.intervals import middle_of

PARAMETERS = 5
_THRESHOLD = 1e-3
_STARTS = np.geomspace(0.05, 1.6, 8)  # exponents; every pair of them is looked at
_POLISHED = 12  # of those starts
_SMALLEST, _LARGEST = 0.01, 3.0  # exponents that a law may have
SAMPLES = 200
_SEED = 0  # the same runs always have the same intervals
_FLOOR = math.log(1e-9)  # of the terms' logarithms
_NOTHING = 2e-3  # of the least loss: a term that is smaller is none
_REWEIGHTINGS = 4
_FAR = 5.0  # median deviations, 3.4 standard deviations of normal noise


@dataclass(frozen=True)
class DataLaw:
    """loss = irreducible + size_scale / N^size_exponent + data_scale / D^data_exponent."""

    irreducible: float
    size_scale: float
    data_scale: float
    size_exponent: float
    data_exponent: float

    def at(self, size: float, data: float) -> float:
        """The loss of a model of so many parameters after so many tokens."""
        return (
            self.irreducible + self.size_scale * size**-self.size_exponent + self.data_scale * data**-self.data_exponent
        )

    def optimum(self, product: float) -> tuple[float, float]:
        """N and D of the least loss where N x D is given (Hoffmann et al., equation 4)."""
        both = self.size_exponent + self.data_exponent
        balance = (self.size_exponent * self.size_scale / (self.data_exponent * self.data_scale)) ** (1 / both)
        size = balance * product ** (self.data_exponent / both)
        return size, product / size


@dataclass(frozen=True)
class DataLawFit:
    """A law, and those of the same runs with losses as they could have been as well: how far off it may be."""

    law: DataLaw
    samples: tuple[DataLaw, ...]

    def interval(self, figure: Callable[[DataLaw], float]) -> tuple[float, float]:
        """The 95% interval of a figure of the law."""
        return middle_of(np.array([figure(sample) for sample in self.samples]))


def fit_data_law(sizes: np.ndarray, data: np.ndarray, losses: np.ndarray) -> DataLawFit | None:
    """Fits the law; None where the losses follow no such law: an exponent from 0.01 to 3 and terms above 0.

    Args:
        sizes: parameters of each run, [runs], at least 7, which are not a power of `data`.
        data: tokens that each run saw, [runs].
        losses: positive losses, [runs].
    """
    problem = _Problem.of(sizes, data, losses)
    best = min((problem.polished(start) for start in problem.starts()), key=itemgetter(1))[0]
    if _is_at_an_end(best, math.log(_NOTHING * losses.min())):
        return None
    samples = [problem.law(drawn.polished(best)[0]) for drawn in problem.resampled(best)]
    return DataLawFit(problem.law(best), tuple(samples))


def _is_at_an_end(point: np.ndarray, nothing: float) -> bool:
    """Whether a term is nothing, or an exponent as small or as large as is looked at: then the losses follow no law."""
    terms, exponents = point[:3], point[3:]
    return bool((terms < nothing).any() or (exponents < 1.01 * _SMALLEST).any() or (exponents > 0.99 * _LARGEST).any())


@dataclass(frozen=True)
class _Problem:
    """Logarithms of sizes and data less their means, which are kept, and of losses, each [runs].

    Points are [log E, log A', log B', a, b], A' and B' being the terms at the mean size and data.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    means: tuple[float, float]

    @classmethod
    def of(cls, sizes: np.ndarray, data: np.ndarray, losses: np.ndarray) -> _Problem:
        x, y = np.log(sizes), np.log(data)
        return cls(x - x.mean(), y - y.mean(), np.log(losses), (float(x.mean()), float(y.mean())))

    def resampled(self, point: np.ndarray) -> Iterator[_Problem]:
        """The same runs with losses as others could have had them: the deviations from a law, drawn with replacement.

        Deviations are smaller than the noise, as the constants follow it: they are divided by the share of the runs
        that is left to them (as a jackknife does), and scaled by a variance drawn as `bootstrap` says.
        """
        runs = len(self.z)
        freedom = runs - PARAMETERS
        fitted = self._fitted(point)
        deviations = (self.z - fitted) * runs / freedom
        generator = np.random.default_rng(_SEED)
        far = _FAR * np.median(np.abs(deviations))  # what is further off has no say in where the middle is
        middle = np.clip(deviations, -far, far).mean()
        drawn = (deviations - middle)[generator.integers(runs, size=(SAMPLES, runs))]
        sizes = np.sqrt(freedom / generator.chisquare(freedom, SAMPLES))
        for noise in sizes[:, None] * drawn:
            yield replace(self, z=fitted + noise)

    def starts(self) -> list[np.ndarray]:
        """For each pair of exponents the terms that fit best by least absolute deviations; the best pairs."""
        from scipy.optimize import nnls

        losses, starts = np.exp(self.z), []
        for a, b in itertools.product(_STARTS, _STARTS):
            terms = np.stack([np.ones_like(self.x), np.exp(-a * self.x), np.exp(-b * self.y)], axis=1)
            weights = np.full_like(losses, 1 / losses.mean())
            for _ in range(_REWEIGHTINGS):
                scales, _ = nnls(terms * weights[:, None], losses * weights)
                deviations = np.abs(terms @ scales - losses)
                weights = 1 / np.sqrt(losses * np.maximum(deviations, _THRESHOLD * losses))
            starts.append((deviations.sum(), [*np.log(np.maximum(scales, _NOTHING / 2 * losses.min())), a, b]))
        return [np.array(start) for _, start in sorted(starts)[:_POLISHED]]

    def polished(self, start: np.ndarray) -> tuple[np.ndarray, float]:
        """The point of least misfit near a start, and that misfit."""
        from scipy.optimize import minimize

        bounds = [(_FLOOR, None)] * 3 + [(_SMALLEST, _LARGEST)] * 2
        options = {"maxiter": 2000, "maxfun": 4000, "ftol": 1e-14, "gtol": 1e-7, "maxcor": 20}
        result = minimize(self._misfit, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options)
        return result.x, float(result.fun)

    def law(self, point: np.ndarray) -> DataLaw:
        """The law at a point."""
        e, size, data, a, b = (float(value) for value in point)
        middle, center = self.means
        return DataLaw(math.exp(e), math.exp(size + a * middle), math.exp(data + b * center), a, b)

    def _fitted(self, point: np.ndarray) -> np.ndarray:
        """Logarithms of the law's losses."""
        e, size, data, a, b = point
        return np.logaddexp.reduce([np.full_like(self.x, e), size - a * self.x, data - b * self.y])

    def _misfit(self, point: np.ndarray) -> tuple[float, np.ndarray]:
        """The sum of Huber's losses in units of the threshold, and its gradient."""
        from scipy.special import huber

        e, size, data, a, b = point
        terms = np.stack([np.full_like(self.x, e), size - a * self.x, data - b * self.y])
        top = terms.max(axis=0)
        shares = np.exp(terms - top)
        total = shares.sum(axis=0)
        shares /= total
        deviations = (np.log(total) + top - self.z) / _THRESHOLD
        misfit = huber(1, deviations).sum()
        slopes = np.clip(deviations, -1, 1) / _THRESHOLD * shares
        gradient = [*slopes.sum(axis=1), -(slopes[1] * self.x).sum(), -(slopes[2] * self.y).sum()]
        return float(misfit), np.array(gradient)
