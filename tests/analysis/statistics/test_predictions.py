"""Predicted figures: two steps, with intervals that independent formulas give and that hold on synthetic studies."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from scalecli.analysis.statistics.predictions import Target, predict
from scalecli.shape import parse_name
from tests.analysis.rows.synthetic import row, table_rows
from tests.analysis.runs import child_of, save_run
from tests.documents import tables

COSTS = np.geomspace(1e9, 1e12, 4)
TABLE_1 = "architectures/table-1"


def target(cost, name="new", architecture=None):
    return Target(name=name, architecture=architecture, cost=cost)


def rows_of(costs, upstream, scores=None, **figures):
    scores = [None] * len(costs) if scores is None else scores
    return [
        row(f"m{k}", flops=float(cost), upstream=float(loss), downstream=score, **figures)
        for k, (cost, loss, score) in enumerate(zip(costs, upstream, scores, strict=True))
    ]


def score_of(upstream):
    return 100 / (1 + np.exp(-(2 + 1.5 * upstream)))


def test_a_line_and_its_prediction_interval_are_those_of_the_textbook():
    upstream = np.array([-3.0, -2.75, -2.4, -2.2])
    (prediction,) = predict(rows_of(COSTS, upstream), "flops", [], [target(1e13)])
    x = np.log10(COSTS)
    fit = stats.linregress(x, upstream)
    design, new = np.stack([np.ones(4), x], axis=1), np.array([1, 13.0])
    deviation = np.sqrt(((upstream - fit.intercept - fit.slope * x) ** 2).sum() / 2)
    margin = stats.t.ppf(0.975, 2) * deviation * np.sqrt(1 + new @ np.linalg.inv(design.T @ design) @ new)
    expected = fit.intercept + 13 * fit.slope
    assert (prediction.form, prediction.n, prediction.is_inside) == ("line", 4, False)
    assert (prediction.predicted, prediction.low, prediction.high) == pytest.approx(
        (expected, expected - margin, expected + margin)
    )


def test_a_power_law_comes_back_from_losses_without_noise():
    costs = np.geomspace(1e9, 1e12, 7)
    rows = rows_of(costs, -(1.2 + 0.9 * (costs / 1e9) ** -0.25))
    (prediction,) = predict(rows, "flops", [], [target(1e14)])
    assert prediction.form == "power law"
    assert (prediction.predicted, prediction.low, prediction.high) == pytest.approx(
        [-(1.2 + 0.9 * 1e5**-0.25)] * 3, abs=5e-3
    )


def test_intervals_contain_what_is_measured_later():
    """Fewer than 9 of 12 intervals of 95% do once in five hundred; 57 of 60 did with six models, 56 with nine."""
    generator = np.random.default_rng(0)
    costs, held = np.geomspace(1e9, 1e12, 8), 0
    for _ in range(12):
        *losses, new = 1.2 + 0.9 * (np.append(costs, 1e13) / 1e9) ** -0.25 + 0.01 * generator.normal(size=9)
        (prediction,) = predict(rows_of(costs, -np.array(losses)), "flops", [], [target(1e13)])
        held += prediction.low <= -new <= prediction.high
        assert prediction.high - prediction.low < 0.3
    assert held >= 9


def test_scores_follow_from_losses_and_stay_possible():
    upstream = -3.5 + 0.4 * np.log10(COSTS / 1e9) + np.array([0, 0.01, -0.01, 0])
    rows = rows_of(COSTS, upstream, score_of(upstream))
    loss, score = predict(rows, "flops", ["downstream"], [target(1e13)])
    assert (score.form, score.n) == ("log-odds over upstream", 4)
    assert score.predicted == pytest.approx(score_of(loss.predicted))
    # With scores exactly on their curve, what is uncertain is the loss.
    assert (score.low, score.high) == pytest.approx((score_of(loss.low), score_of(loss.high)), rel=0.1)
    loss, far = predict(rows, "flops", ["downstream"], [target(1e17)])
    assert loss.high <= 0 and 0 <= far.low <= far.predicted <= far.high <= score_of(0.0) + 0.1
    loss, far = predict(rows, "flops", ["downstream"], [target(1e60)])
    assert loss.reason == "the line leads to 16.8, and no model reaches more than 0" and loss.predicted is None
    assert far.reason == "its upstream figure is not predicted"


def test_noise_of_the_scores_widens_their_interval():
    upstream = -3.5 + 0.4 * np.log10(COSTS / 1e9)  # without noise
    scores = score_of(upstream) + np.array([0.5, -1.0, -1.0, 1.0])
    loss, score = predict(rows_of(COSTS, upstream, scores), "flops", ["downstream"], [target(1e11)])
    assert loss.high - loss.low < 1e-6
    odds = np.log(scores / (100 - scores))
    fit = stats.linregress(upstream, odds)
    deviation = np.sqrt(((odds - fit.intercept - fit.slope * upstream) ** 2).sum() / 2)
    spread = ((upstream - upstream.mean()) ** 2).sum()
    margin = stats.t.ppf(0.975, 2) * deviation * np.sqrt(1.25 + (loss.predicted - upstream.mean()) ** 2 / spread)
    middle = fit.intercept + fit.slope * loss.predicted
    ends = 100 / (1 + np.exp(-(middle + np.array([-margin, margin]))))
    assert (score.low, score.high) == pytest.approx(ends, abs=1.0)


def test_the_largest_is_held_out_and_so_is_whatever_costs_the_same():
    upstream = np.array([-3.0, -2.75, -2.4, -2.2, -1.9])
    rows = rows_of(np.geomspace(1e9, 1e13, 5), upstream, [50.0, 55.0, 60.0, 65.0, 72.0])
    twin = replace(rows[-1], name="twin", upstream=0.0)
    loss, score = predict([*rows, twin], "flops", ["downstream"], [], "largest")
    assert (loss.model, loss.n, loss.measured, score.measured) == ("m4", 4, -1.9, 72.0)
    (alone,) = predict(rows[:4], "flops", [], [target(1e13)])
    assert (loss.predicted, loss.low) == (alone.predicted, alone.low)
    named = predict(rows, "flops", [], [], "m1")[0]
    assert (named.model, named.n, named.is_inside) == ("m1", 4, True)
    assert predict(rows, "flops", [], [], "m9") == []


@pytest.mark.parametrize(
    ("costs", "upstream", "scores", "reasons"),
    [
        ([1e9, 1e10], [-3, -2], [50, 60], ["4 models of different costs", "upstream figure is not predicted"]),
        ([1e9] * 5, [-3, -2.9, -2.8, -2.7, -2.6], [50.0] * 5, ["4 models of different costs", "not predicted"]),
        (COSTS, [-3, -2.9, -2.8, -2.7], [60.0, 50.0, 40.0, 30.0], [None, "does not rise with upstream"]),
        (COSTS, [-3, -2.9, -2.8, -2.7], [0.0, 50.0, 60.0, 70.0], [None, "not between 0 and 100"]),
        (COSTS, [-3, -2.9, -2.8, -2.7], [40.0, 50.0, None, None], [None, "4 models with upstream and downstream"]),
    ],
)
def test_what_is_not_predicted_says_why(costs, upstream, scores, reasons):
    predictions = predict(rows_of(costs, upstream, scores), "flops", ["downstream"], [target(1e13)])
    for each, reason in zip(predictions, reasons, strict=True):
        assert (each.predicted is None) == (reason is not None)
        assert each.reason is None if reason is None else reason in each.reason


def test_other_architectures_and_figures_that_were_measured_otherwise_stay_out():
    rows = rows_of(COSTS, [-3.0, -2.75, -2.4, -2.2])
    odd = row("odd", flops=1e13, upstream=0.0, flops_sequences=64)
    (prediction,) = predict([*rows, odd], "flops", [], [target(1e13, architecture="transformer")])
    assert (prediction.n, prediction.predicted) == (4, pytest.approx(-1.9, abs=0.05))
    (none,) = predict(rows, "flops", [], [target(1e13, architecture="switch")])
    assert (none.group, none.n, none.predicted) == ("switch", 0, None)
    assert none.reason == "it needs 4 models of different costs"


def test_the_papers_largest_transformer_from_its_smaller_ones():
    rows = [row for row in table_rows(TABLE_1) if row.architecture == "transformer"]
    loss, score = predict(rows, "parameters", ["superglue"], [], "largest")
    small = sorted(rows, key=lambda each: each.parameters)[:-1]
    slope, intercept = np.polyfit(np.log10([row.parameters for row in small]), [row.upstream for row in small], 1)
    assert loss.predicted == pytest.approx(intercept + slope * np.log10(2.9e9))
    assert (loss.model, loss.measured, score.measured) == ("transformer-xl", -1.49, 81.5)
    assert loss.low < loss.measured < loss.predicted  # the line is too hopeful


def study(directory):
    """Five sizes and the runs that were finetuned from them, scores on a curve of their losses."""
    for number, size in enumerate(("tiny", "mini", "small", "base", "large")):
        figure = -3.5 + 0.3 * number
        results = {300: {"validation/negative_log_perplexity": figure}}
        path = save_run(directory / size, results=results, best=None, shape=parse_name(size).to_dict())
        scores = {300: {"sst2/accuracy": float(score_of(figure))}}
        fields = {**child_of(path, f"../{size}"), "results": scores, "best": None, "shape": parse_name(size).to_dict()}
        save_run(directory / f"{size}-sst2", **fields)


def test_runs_and_those_that_were_finetuned_from_them(tmp_path, compare):
    study(tmp_path)
    arguments = (str(tmp_path / "*"), "--hold-out", "largest", "--cost", "parameters", "--format", "json")
    predictions = tables(compare(*arguments)[1])["predictions"]
    loss, score = predictions
    assert (loss["model"], loss["n"], loss["measured"]) == ("large", 4, pytest.approx(-2.3))
    assert (score["quality"], score["n"]) == ("downstream", 4)
    assert score["measured"] == pytest.approx(score_of(-2.3))
    assert score["predicted"] == pytest.approx(score_of(loss["predicted"]))
    tuned = tables(compare(*arguments[:2], "large-sst2", *arguments[3:])[1])["predictions"]
    assert tuned == [{**each, "model": "large-sst2"} for each in predictions]
    code, out, _ = compare(str(tmp_path / "*"), "--predict", "xl", "--predict-at", "flops=1e15", "--cost", "parameters")
    assert code == 0 and "note: beyond the costs of all models that were fitted: xl, -" in out
    rows = [line.split() for line in out.splitlines() if " power law " in line or " line " in line]
    assert [row[1:3] for row in rows] == [["xl", "parameters"], ["-", "flops"]]


def test_a_model_whose_architecture_has_no_others_is_not_left_out_in_silence(compare):
    out = compare("--published", "table-4", "--predict", "xl-nl24", "--predict", "switch-base")[1]
    assert "no prediction: switch: base: upstream (n = 0): it needs 4 models of different costs" in out


def test_people_see_how_many_measured_figures_are_within(compare):
    arguments = ("--published", TABLE_1, "--hold-out", "largest", "--cost", "parameters", "--quality", "superglue")
    out = compare(*arguments)[1]
    assert "upstream: 6 of 7 measured figures are within the 95% prediction interval." in out
    assert "no prediction: albert: albert-large: upstream (n = 2): it needs 4 models of different costs" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--predict-at", "flops"], "--predict-at flops: COST=VALUE is accepted"),
        (["--predict-at", "flops=0"], "--predict-at flops=0: a number above 0"),
        (["--predict-at", "flop=1e9"], "no column 'flop'"),
        (["--predict", "switch-base", "--cost", "steps_per_s"], "no two switch models have both flops and steps_per_s"),
        (["--hold-out", "nobody"], "--hold-out nobody: no model of that name has flops and upstream"),
    ],
)
def test_what_does_not_go_together(compare, arguments, message):
    code, out, err = compare("small", "base", *arguments)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1


def test_costs_that_depend_on_data_and_machine_are_those_of_the_other_models(compare):
    arguments = ("--published", "table-4", "--predict", "small-nl32", "--cost", "training_flops,device_hours")
    document = tables(compare(*arguments, "--format", "json")[1])
    rows = [row for row in table_rows("scale-efficiently/table-4") if row.flops_sequences == 128]
    of_training, of_hours = (
        next(each for each in document["predictions"] if each["cost"] == cost)
        for cost in ("training_flops", "device_hours")
    )
    # All of them saw as much data: three passes of as many steps.
    assert of_training["at"] / 3 / 2**19 == pytest.approx(13.2e12, rel=0.05)
    x, y = (np.log([getattr(row, key) for row in rows]) for key in ("flops", "device_hours"))
    slope, intercept = np.polyfit(x, y, 1)
    flops = of_training["at"] / (rows[0].training_flops / rows[0].flops)
    assert of_hours["at"] == pytest.approx(np.exp(intercept + slope * np.log(flops)), rel=1e-3)
    assert "device_hours of small-nl32: " in compare(*arguments)[1]
