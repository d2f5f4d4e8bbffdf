import math

import numpy as np
import pytest

from scalecli.analysis.statistics import fits
from scalecli.analysis.statistics.fits import LineFit, NoFit, fit_lines, fit_powers, rms
from scalecli.analysis.statistics.points import points
from tests.analysis.rows.synthetic import points_of, spread_costs, table_rows

COSTS = np.geomspace(1e12, 1e15, 8)


def published_lines(cost, quality):
    rows = table_rows("architectures/table-1")
    return {fit.group: fit for fit in fit_lines(points(rows, cost, quality), cost, quality)}


def test_a_line_without_noise_is_found_exactly():
    (line,) = fit_lines(points_of(COSTS, -5 + 0.25 * np.log10(COSTS)), "flops", "upstream")
    assert (line.slope, line.intercept, line.n) == (pytest.approx(0.25), pytest.approx(-5), 8)
    assert line.interval == pytest.approx((0.25, 0.25))
    assert line.at(1e14) == pytest.approx(-1.5)
    assert rms(line.residuals) == pytest.approx(0, abs=1e-9)


def test_equal_qualities_have_a_slope_of_zero_and_not_one_by_rounding():
    (line,) = fit_lines(points_of(COSTS, [-4.1] * 8), "flops", "upstream")
    assert (line.slope, line.intercept, line.interval) == (0.0, -4.1, (0.0, 0.0))
    assert {value for _, value in line.residuals} == {0.0}


def test_a_limit_of_zero_has_no_sign():
    assert f"{fits.quality_of('upstream', 0.0):g}" == "0"


def test_residuals_are_by_model_and_what_the_line_leaves():
    qualities = [1.0, 2.0, 3.0, 4.4]
    (line,) = fit_lines(points_of([1, 10, 100, 1000], qualities), "flops", "glue")
    assert [name for name, _ in line.residuals] == ["model-0", "model-1", "model-2", "model-3"]
    assert line.residuals[3][1] == pytest.approx(4.4 - line.at(1000)) == pytest.approx(0.12)
    assert sum(value for _, value in line.residuals) == pytest.approx(0)


@pytest.mark.parametrize("models", [4, 5, 20])
def test_intervals_cover_the_true_slope(models, monkeypatch):
    monkeypatch.setattr(fits, "_SAMPLES", 499)
    generator = np.random.default_rng(0)
    covered = 0
    for _ in range(1_000):  # 200 may miss the bounds by chance
        costs = spread_costs(generator, models)
        qualities = -9 + 0.5 * np.log10(costs) + 0.05 * generator.standard_normal(models)
        (line,) = fit_lines(points_of(costs, qualities), "flops", "upstream")
        covered += line.interval[0] <= 0.5 <= line.interval[1]
    assert 0.90 <= covered / 1_000 <= 0.99


def test_the_same_models_have_the_same_interval_twice():
    known = points_of(COSTS, -5 + 0.25 * np.log10(COSTS) + 0.1 * np.sin(np.arange(8)))
    assert fit_lines(known, "flops", "upstream") == fit_lines(known, "flops", "upstream")


def test_the_papers_slopes_of_transformer_and_glu():
    lines = published_lines("flops", "upstream")
    for architecture, slope, printed in (("transformer", 0.54, 0.54), ("glu", 0.50, 0.49)):
        line = lines[architecture]
        assert line.slope == pytest.approx(slope, abs=0.01)
        assert (line.n, line.published.value, line.published.where) == (5, printed, "architectures/table-2")
        assert line.interval[0] < printed < line.interval[1]
        assert line.published.findings == ()
    # XL's FLOPs are of half as many sequences.
    assert lines["transformer"].unlike == ("transformer-xl",)
    assert lines["transformer"].slope_without == pytest.approx(0.59, abs=0.01)
    assert lines["mos"].unlike == () and lines["mos"].slope_without is None


def test_slopes_that_do_not_follow_from_table_1_say_so():
    line = published_lines("flops", "upstream")["universal"]
    assert line.slope > 0.8 and line.published.value == 0.50
    assert "does not follow from Table 1" in line.published.findings[0].reason


@pytest.mark.parametrize(
    ("cost", "quality", "printed"),
    [("parameters", "upstream", 0.47), ("parameters", "downstream", 0.24), ("steps_per_s", "upstream", None)],
)
def test_the_published_slope_is_of_the_same_cost_and_quality(cost, quality, printed):
    published = published_lines(cost, quality)["transformer"].published
    assert (published and published.value) == printed


def test_series_along_a_knob_have_no_published_slope():
    rows = table_rows("scale-efficiently/table-4")
    lines = {fit.group: fit for fit in fit_lines(points(rows, "flops", "upstream", "knob"), "flops", "upstream")}
    small = lines["NL from small"]
    assert small.n == 5 and small.published is None
    assert lines["EL"] == NoFit(
        group="EL", cost="flops", quality="upstream", n=2, kind="line", reason="a line needs 4 models"
    )


@pytest.mark.parametrize(
    ("costs", "fit", "reason"),
    [
        ([1, 2, 3], fit_lines, "a line needs 4 models"),
        ([1, 1, 2, 2], fit_lines, "a line needs 3 different costs"),
        ([0, 1, 2, 3], fit_lines, "flops is not above 0 everywhere, so that it has no logarithm"),
        ([1, 2, 3, 4], fit_powers, "a power law needs 5 models"),
        ([1, 1, 2, 2, 3, 3], fit_powers, "a power law needs 4 different costs"),
        ([0, 1, 2, 3, 4], fit_powers, "flops is not above 0 everywhere"),
    ],
)
def test_too_few_points_are_not_fitted(costs, fit, reason):
    (refused,) = fit(points_of(costs, range(len(costs))), "flops", "glue")
    assert isinstance(refused, NoFit) and (refused.reason, refused.n) == (reason, len(costs))


@pytest.mark.parametrize(
    ("qualities", "reason"),
    [
        ([50, 60, 70, 80, 101], "glue is neither a loss above 0 nor a score below 100"),
        ([80, 70, 60, 50, 40], "glue does not level off over flops as a power law does"),
    ],
)
def test_what_is_no_power_law_has_none(qualities, reason):
    (refused,) = fit_powers(points_of([1, 10, 100, 1000, 1e4], qualities), "flops", "glue")
    assert refused.reason == reason


@pytest.mark.parametrize(
    ("quality", "of_loss", "limit"),
    [
        ("upstream", lambda loss: -loss, -1.2),
        ("validation/negative_log_perplexity", lambda loss: -loss, -1.2),
        ("validation/loss", lambda loss: loss, 1.2),
        ("glue", lambda loss: 100 - loss, 98.8),
    ],
)
def test_the_loss_that_a_quality_states(quality, of_loss, limit):
    losses = 1.2 + 1.5 * (COSTS / 1e12) ** -0.3
    (fit,) = fit_powers(points_of(COSTS, of_loss(losses)), "flops", quality)
    assert fit.curve.exponent == pytest.approx(0.3, abs=1e-3)
    assert fit.limit == pytest.approx(limit, abs=1e-3)
    assert fit.at(1e12) == pytest.approx(of_loss(2.7), abs=1e-3)


def test_where_more_is_cheaper_the_law_is_of_the_reciprocal():
    seconds = np.geomspace(0.01, 1, 8)
    (fit,) = fit_powers(points_of(1 / seconds, -(1.2 + 0.5 * seconds**-0.3)), "steps_per_s", "upstream")
    assert fit.curve.exponent == pytest.approx(0.3, abs=1e-3)
    assert fit.at(1.0) == pytest.approx(-1.7, abs=1e-3)


def test_a_line_over_what_is_no_cost_has_no_logarithm():
    (line,) = fit_lines(points_of([-3, -2.5, -2, -1.5], [50, 60, 70, 80]), "upstream", "downstream", is_log=False)
    assert (line.slope, line.at(-1.0)) == (pytest.approx(20), pytest.approx(90))
    assert line.published.value == 0.49


def test_models_that_were_measured_otherwise_are_named():
    known = points_of([1, 10, 100, 1000], [1, 2, 3, 9], measured_on=["a", "a", "a", "b"])
    (line,) = fit_lines(known, "flops", "glue")
    assert isinstance(line, LineFit) and line.unlike == ("model-3",)
    assert line.slope_without == pytest.approx(1) and not math.isclose(line.slope, 1)
