"""Parabolas of runs of one budget, against NumPy's own and sweeps of a known law."""

import math
from dataclasses import replace

import numpy as np
import pytest

from scalecli.analysis.plots.isoflop import isoflop_figure
from scalecli.analysis.statistics.isoflop import fit_isoflop
from scalecli.errors import UsageError
from tests.analysis.rows.synthetic import row
from tests.analysis.runs import save_run
from tests.documents import tables

BUDGETS = (1e18, 3e18, 1e19, 3e19)
EXPONENT, FACTOR = 0.46, 0.12  # of the best size: factor x budget^exponent
BEND = 0.5


def best_size(budget):
    return FACTOR * budget**EXPONENT


def sweep(noise=0.0, generator=None, budgets=BUDGETS, spread=1.0, shift=1.0, sizes=7):
    """Runs whose loss is a parabola around the best size, over ten times of it either way for a spread of 1."""
    rows = []
    for budget in budgets:
        for factor in shift * np.geomspace(10**-spread, 10**spread, sizes):
            size = best_size(budget) * factor
            loss = 2.5 + 0.2 * math.log10(1e20 / budget) + BEND * math.log10(factor) ** 2
            loss += noise * generator.normal() if noise else 0.0
            flops = budget * (1 + 0.02 * math.sin(factor))  # steps are whole numbers
            figures = {"tokens": round(budget / 6 / size), "training_flops": flops}
            rows.append(row(f"{budget:g}-{factor:.2f}", parameters=round(size), upstream=-loss, **figures))
    return rows


def test_minima_and_exponents_of_a_known_law():
    ((parabolas, exponents),) = fit_isoflop(sweep(), "upstream")
    assert [len(parabola.runs) for parabola in parabolas] == [7] * 4
    for parabola, budget in zip(parabolas, BUDGETS, strict=True):
        assert parabola.budget == pytest.approx(budget, rel=0.02)
        assert parabola.parameters.value == pytest.approx(best_size(budget), rel=1e-3)
        assert parabola.tokens.value == pytest.approx(budget / 6 / best_size(budget), rel=1e-3)
        assert parabola.loss.value == pytest.approx(2.5 + 0.2 * math.log10(1e20 / budget), abs=1e-3)
    assert exponents.parameters.value == pytest.approx(EXPONENT, abs=1e-3)
    assert exponents.tokens.value == pytest.approx(1 - EXPONENT, abs=1e-3)
    assert exponents.factor * BUDGETS[0] ** exponents.parameters.value == pytest.approx(best_size(1e18), rel=2e-3)


def test_minima_and_exponents_are_those_of_numpy():
    rows = sweep(0.01, np.random.default_rng(1))
    ((parabolas, exponents),) = fit_isoflop(rows, "upstream")
    minima = []
    for index in range(len(BUDGETS)):
        own = rows[7 * index : 7 * index + 7]
        c2, c1, _ = np.polyfit(np.log10([row.parameters for row in own]), [-row.upstream for row in own], 2)
        minima.append(-c1 / (2 * c2))
    assert [math.log10(parabola.parameters.value) for parabola in parabolas] == pytest.approx(minima, abs=1e-6)
    slope = np.polyfit(np.log10([parabola.budget for parabola in parabolas]), minima, 1)[0]
    assert exponents.parameters.value == pytest.approx(slope, abs=1e-6)


def test_intervals_contain_the_truth():
    generator = np.random.default_rng(3)
    inside = np.zeros(3)
    for _ in range(300):
        ((parabolas, exponents),) = fit_isoflop(sweep(0.01, generator, BUDGETS[:3], 0.6, sizes=5), "upstream")
        truths = (EXPONENT, best_size(BUDGETS[0]), 2.5 + 0.2 * math.log10(1e20 / BUDGETS[0]))
        estimates = (exponents.parameters, parabolas[0].parameters, parabolas[0].loss)
        inside += [each.low <= truth <= each.high for each, truth in zip(estimates, truths, strict=True)]
    assert (inside / 300 >= 0.9).all() and (inside / 300 <= 0.99).all(), inside / 300


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"shift": 30.0}, "best at the smallest size: no minimum without smaller ones"),
        ({"shift": 0.03}, "best at the largest size: no minimum without larger ones"),
        ({"sizes": 2}, "a parabola needs 3 sizes"),
    ],
)
def test_a_minimum_at_the_edge_is_none(changes, reason):
    ((parabolas, exponents),) = fit_isoflop(sweep(**changes), "upstream")
    assert {parabola.reason for parabola in parabolas} == {reason}
    assert {parabola.parameters for parabola in parabolas} == {None}
    assert (exponents.parameters, exponents.reason) == (None, "an exponent needs 2 budgets with a minimum")


def test_what_does_not_bend_upwards_has_no_minimum():
    hill = [replace(each, upstream=-9 + BEND * (math.log10(each.parameters) - 7.3) ** 2) for each in sweep()]
    ((parabolas, _),) = fit_isoflop(hill, "upstream")
    assert {parabola.reason for parabola in parabolas} == {"the loss does not bend upwards: no minimum"}


def test_one_budget_and_equal_runs_have_no_exponent_or_interval():
    ((parabolas, exponents),) = fit_isoflop(sweep(budgets=(1e18,)), "upstream")
    assert parabolas[0].parameters and exponents.reason == "an exponent needs 2 budgets with a minimum"
    ((parabolas, exponents),) = fit_isoflop(sweep(sizes=3), "upstream")
    assert math.isnan(parabolas[0].parameters.low) and math.isnan(exponents.parameters.low)  # nothing left over


def test_budgets_are_told_apart_and_spread_ones_do_not_run_together():
    rows = [row(f"r{index}", parameters=10**6 * index, tokens=10, upstream=-3.0) for index in range(1, 31)]
    rows = [replace(each, training_flops=1e15 * 1.05**index) for index, each in enumerate(rows)]
    ((parabolas, _),) = fit_isoflop(rows, "upstream")
    assert max(own.runs[-1].cost / own.runs[0].cost for own in parabolas) <= 1.25
    assert [len(own.runs) for own in parabolas] == [5] * 6


def test_the_figure_has_a_curve_for_each_budget_and_the_minima_beside_it():
    figure = isoflop_figure(sweep(), ["upstream"])
    curves, minima = figure.panels
    assert [line.group for line in curves.lines] == figure.groups and len(figure.groups) == 4
    assert len(curves.marks) == 28 and [mark.x for mark in minima.marks] == pytest.approx(BUDGETS, rel=0.02)
    assert minima.lines[0].label == "exponent 0.46"
    at_best = [max(line.ys) for line in curves.lines]
    assert at_best == pytest.approx([-2.5 - 0.2 * math.log10(1e20 / budget) for budget in BUDGETS], abs=1e-3)
    with pytest.raises(UsageError, match="no runs have parameters, training FLOPs and glue"):
        isoflop_figure(sweep(), ["glue"])


def test_the_subcommand(tmp_path, compare):
    for size, steps in (("tiny", 800), ("mini", 403), ("small", 205), ("base", 57)):
        figure = -4.0 - 0.1 * abs(("tiny", "mini", "small", "base").index(size) - 1.4)
        results = {steps: {"validation/negative_log_perplexity": figure}}
        save_run(tmp_path / size, size, steps=steps, results=results, best=None)
    save_run(
        tmp_path / "nan", "mini", steps=403, results={403: {"validation/negative_log_perplexity": math.nan}}, best=None
    )
    arguments = (str(tmp_path / "*"), "--isoflop")
    document = tables(compare(*arguments, "--format", "json")[1])
    assert list(document) == ["models", "isoflop", "isoflop_exponents"]
    assert {"group", "budget", "n", "parameters", "parameters/low", "reason"} <= set(document["isoflop"][0])
    out = compare(*arguments, "--plot", str(tmp_path / "isoflop.svg"))[1]
    assert "note: left out, since upstream is no number: nan" in out
    assert "Exponents of the best size over training FLOPs: " in out
    assert (tmp_path / "isoflop.svg").stat().st_size > 10_000
    assert (
        "nothing to fit: no runs have parameters, training FLOPs and few_shot"
        in compare("small", "base", "--isoflop", "--quality", "few_shot")[1]
    )
