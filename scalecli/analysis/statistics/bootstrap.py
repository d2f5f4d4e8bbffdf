"""Confidence intervals of a fit's slope or exponent, for as few models as a scaling study has.

A studentized bootstrap over the models (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, sections
5.2 and 6.2): the deviations of the models from the fit are drawn again with replacement, put on the fit, and fitted
again. How far each such fit is from the one that it came from, in units of its own misfit, tells how far ours may be
from the truth. Drawing whole models again instead makes the intervals of four or five too narrow.

Where noise is drawn from a normal distribution or scaled instead (`power_law.drawn_losses`, `isoflop`, `data_law`), its
variance is drawn from its scaled inverse-chi-squared distribution: that of the true variance, given the deviations.

Few models have so few such draws, n^n, that all of them are taken, and the interval depends on no seed.
"""

from __future__ import annotations

import numpy as np

from scalecli.analysis.statistics.intervals import LEVEL

_SEED = 0  # the same models always have the same interval
_EXACT = 1e-12  # of the usual misfit: less is rounding


def resampled(fitted: np.ndarray, residuals: np.ndarray, samples: int, all_up_to: int) -> np.ndarray:
    """Qualities as other models of the same kind could have had them, [samples, models].

    Args:
        fitted: the fit's qualities, [models].
        residuals: how far the models are from them, [models].
        samples: how many sets of models are drawn.
        all_up_to: the number of models up to which all n^n sets are taken instead.
    """
    models = len(residuals)
    if models <= all_up_to:
        drawn = np.indices((models,) * models).reshape(models, -1).T
    else:
        drawn = np.random.default_rng(_SEED).integers(models, size=(samples, models))
    return fitted + (residuals - residuals.mean())[drawn]


def misfit_ratio(at_truth: np.ndarray, best: np.ndarray) -> float:
    """The share by which the misfit at the truth is above that of the best fit: at most this in 95% of the samples.

    Args:
        at_truth: misfit with the slope that the samples were made with, [samples].
        best: misfit with the slope that fits each of them best, [samples].
    """
    usable = best > _EXACT * best.max()  # a sample that a fit goes through exactly has no unit of misfit
    if not usable.any():
        return 0.0
    return float(np.quantile(at_truth[usable] / best[usable] - 1, LEVEL))
