"""The studentized bootstrap over a few models, against all its resamples, one by one."""

import itertools
import math

import numpy as np
import pytest

from scalecli.analysis.statistics import bootstrap
from scalecli.analysis.statistics.bootstrap import misfit_ratio, resampled
from scalecli.analysis.statistics.fits import fit_lines
from scalecli.analysis.statistics.power_law import fit_curve
from tests.analysis.statistics.test_fits import points_of

COSTS, QUALITIES = [1, 10, 100, 1000], [1.0, 2.2, 2.8, 4.1]


def slope_of(x, y):
    return np.polyfit(x, y, 1)[0]


def misfit_of(x, y):
    slope, intercept = np.polyfit(x, y, 1)
    return sum((value - intercept - slope * at) ** 2 for at, value in zip(x, y, strict=True))


def test_the_interval_of_four_models_is_that_of_all_256_resamples():
    x = [0.0, 1.0, 2.0, 3.0]
    slope, intercept = np.polyfit(x, QUALITIES, 1)
    fitted = [intercept + slope * at for at in x]
    residuals = [value - fit for value, fit in zip(QUALITIES, fitted, strict=True)]
    spread, ratios = 5.0, []  # of 0, 1, 2, 3 around their mean
    for drawn in itertools.product(residuals, repeat=4):
        sample = [fit + residual for fit, residual in zip(fitted, drawn, strict=True)]
        if (misfit := misfit_of(x, sample)) > 1e-9:  # not where all four residuals are one, or lie on a line
            ratios.append((slope_of(x, sample) - slope) ** 2 * spread / misfit)
    margin = math.sqrt(np.quantile(ratios, 0.95) * misfit_of(x, QUALITIES) / spread)
    (line,) = fit_lines(points_of(COSTS, QUALITIES), "flops", "glue")
    assert line.slope == pytest.approx(0.99)
    assert line.interval == pytest.approx((0.99 - margin, 0.99 + margin))


@pytest.mark.parametrize("seed", range(3))
def test_no_seed_changes_the_intervals_of_a_few_models(seed, monkeypatch):
    known = points_of(COSTS, QUALITIES)
    costs, losses = np.geomspace(1, 1e4, 5), np.array([2.71, 1.94, 1.59, 1.38, 1.31])
    before = fit_lines(known, "flops", "glue")[0].interval, fit_curve(costs, losses).interval
    monkeypatch.setattr(bootstrap, "_SEED", 100 + seed)
    assert (fit_lines(known, "flops", "glue")[0].interval, fit_curve(costs, losses).interval) == before


def test_all_resamples_are_taken_once_and_more_models_are_drawn():
    residuals = np.array([1.0, -3.0, 2.0])
    samples = resampled(np.array([10.0, 20.0, 30.0]), residuals, 7, all_up_to=3)
    expected = {tuple(np.add((10, 20, 30), drawn)) for drawn in itertools.product(residuals, repeat=3)}
    assert len(samples) == 27 and set(map(tuple, samples)) == expected
    assert resampled(np.zeros(3), residuals, 7, all_up_to=2).shape == (7, 3)


def test_resamples_that_are_fitted_exactly_have_no_ratio():
    assert misfit_ratio(np.array([1.0, 2.0]), np.array([0.0, 1.0])) == 1.0
    assert misfit_ratio(np.array([1.0]), np.array([0.0])) == 0.0
