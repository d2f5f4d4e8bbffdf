import math

import numpy as np
import pytest

from scalecli.analysis.statistics import power_law
from scalecli.analysis.statistics.power_law import fit_curve
from tests.analysis.rows.synthetic import spread_costs

COSTS = np.geomspace(1e12, 1e15, 8)


@pytest.mark.parametrize(("irreducible", "exponent"), [(1.2, 0.3), (0.0, 0.3), (0.8, 0.05), (2.0, 1.5)])
def test_a_curve_without_noise_is_found_exactly(irreducible, exponent):
    curve = fit_curve(COSTS, irreducible + 1.5 * (COSTS / 1e12) ** -exponent)
    assert curve.exponent == pytest.approx(exponent, rel=1e-4)
    assert curve.irreducible == pytest.approx(irreducible, abs=1e-3)
    assert curve.scale == pytest.approx(1.5 * 1e12**exponent, rel=1e-2)
    assert curve.at(1e12) == pytest.approx(irreducible + 1.5, abs=1e-4)
    assert curve.interval == pytest.approx((exponent, exponent), rel=1e-3)


def test_what_does_not_fall_follows_no_power_law():
    assert fit_curve(COSTS, 1 + (COSTS / 1e12) ** 0.3) is None


def test_a_run_gone_wrong_does_not_bend_the_curve():
    noise = 0.01 * np.random.default_rng(0).standard_normal(12)
    costs = np.geomspace(1e12, 1e15, 12)
    losses = 1.2 + 1.5 * (costs / 1e12) ** -0.3 + noise
    wrong = losses + np.where(np.arange(12) == 10, 0.6, 0)
    assert fit_curve(costs, losses).exponent == pytest.approx(0.3, abs=0.02)
    assert fit_curve(costs, wrong).exponent == pytest.approx(0.3, abs=0.03)
    assert fit_curve(costs, wrong).interval[1] - fit_curve(costs, wrong).interval[0] > 0.05  # it knows less, though


def test_an_exponent_that_the_points_do_not_limit_has_an_open_interval():
    losses = np.array([2.0, 1.01, 0.99, 1.0, 1.005])
    low, high = fit_curve(np.array([1.0, 10, 20, 40, 80]), losses).interval
    assert 1 < low < 2 and math.isinf(high)


def test_intervals_cover_the_true_exponent(monkeypatch):
    monkeypatch.setattr(power_law, "_SAMPLES", 199)
    generator = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        costs = spread_costs(generator, 6)
        losses = 1.0 + 1.5 * (costs / 1e12) ** -0.3 + 0.01 * generator.standard_normal(6)
        low, high = fit_curve(costs, losses).interval
        covered += low <= 0.3 <= high
    assert 0.90 <= covered / 200 <= 0.99
