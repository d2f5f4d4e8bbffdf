"""E + A / N^a + B / D^b: known constants come back, an independent fit agrees, and what can't be fitted is one line."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from scalecli.analysis.statistics import data_law
from scalecli.analysis.statistics.data_fits import DataFit, NoFit, fit_data
from scalecli.analysis.statistics.data_law import fit_data_law
from scalecli.shape import parse_name
from tests.analysis.rows.synthetic import row
from tests.analysis.runs import save_run
from tests.analysis.statistics.data_laws import NAMES, TRUTH, covered, synthetic_runs

FEW = 5  # samples, where intervals are not looked at


@pytest.fixture
def few_samples(monkeypatch):
    monkeypatch.setattr(data_law, "SAMPLES", FEW)


def constants(law):
    return [getattr(law, name) for name in NAMES]


def test_constants_come_back_from_losses_without_noise(few_samples):
    fitted = fit_data_law(*synthetic_runs(np.random.default_rng(0), noise=0.0))
    np.testing.assert_allclose(constants(fitted.law), constants(TRUTH), rtol=1e-6)


def test_one_run_far_below_the_floor_moves_the_law_no_further_than_its_interval(monkeypatch):
    """By least squares it would be the only one that counts: its relative deviation is that of 70 times its loss."""
    monkeypatch.setattr(data_law, "SAMPLES", 40)
    sizes, data, losses = synthetic_runs(np.random.default_rng(0))
    losses[10] = 0.05
    fit = fit_data_law(sizes, data, losses)
    assert all(covered(fit))
    assert fit.law.irreducible == pytest.approx(TRUTH.irreducible, abs=0.2)
    low, high = fit.interval(lambda law: law.at(1e10, 1e12))
    assert low <= fit.law.at(1e10, 1e12) <= high < 1.1 * low


@pytest.mark.parametrize("seed", range(3))
def test_an_independent_fit_of_hubers_loss_agrees(few_samples, seed):
    sizes, data, losses = synthetic_runs(np.random.default_rng(seed))

    def deviations(point):
        e, a, b, alpha, beta = point  # terms at 1e9 parameters and 1e10 tokens
        fitted = np.exp(e) + np.exp(a) * (sizes / 1e9) ** -alpha + np.exp(b) * (data / 1e10) ** -beta
        return np.log(fitted) - np.log(losses)

    start = [np.log(1.69), np.log(406.4 * 1e9**-0.34), np.log(410.7 * 1e10**-0.28), 0.34, 0.28]
    tight = {"ftol": 1e-15, "xtol": 1e-15, "gtol": 1e-15, "max_nfev": 20_000}
    theirs = least_squares(deviations, start, loss="huber", f_scale=1e-3, **tight)
    e, a, b, alpha, beta = theirs.x
    expected = [np.exp(e), np.exp(a) * 1e9**alpha, np.exp(b) * 1e10**beta, alpha, beta]
    law = fit_data_law(sizes, data, losses).law
    np.testing.assert_allclose(constants(law), expected, rtol=1e-3)


def test_intervals_contain_the_truth(monkeypatch):
    """Fewer than 19 of 24 intervals of 95% do about once in ten thousand; tests.benchmarks.data_law has 200 trials."""
    monkeypatch.setattr(data_law, "SAMPLES", 40)
    generator = np.random.default_rng(0)
    fits = [fit_data_law(*synthetic_runs(generator)) for _ in range(24)]
    assert (np.sum([covered(fit) for fit in fits], axis=0) >= 19).all()
    widths = [np.diff(fit.interval(lambda law: law.size_exponent)) for fit in fits]
    assert 0.02 < np.median(widths) < 0.2


def test_the_optimum_is_that_of_a_search():
    product = 1e20
    sizes = np.geomspace(1e8, 1e12, 400_001)
    losses = TRUTH.irreducible + TRUTH.size_scale * sizes**-0.34 + TRUTH.data_scale * (product / sizes) ** -0.28
    size, data = TRUTH.optimum(product)
    assert size == pytest.approx(sizes[losses.argmin()], rel=1e-4)
    assert size * data == pytest.approx(product)


def rows_of(sizes, data, losses, **figures):
    figures = {"flops_convention": "forward", **figures}
    return [
        row(f"run-{k}", parameters=n, tokens=d, upstream=-loss, training_flops=6 * n * d, **figures)
        for k, (n, d, loss) in enumerate(zip(sizes, data, losses, strict=True))
    ]


def test_budgets_and_what_a_parameter_and_a_token_cost(few_samples):
    rows = rows_of(*synthetic_runs(np.random.default_rng(0), noise=0.0))
    (fit,) = fit_data(rows, "upstream", [6e21, 6e30])
    assert isinstance(fit, DataFit) and fit.n == 21
    assert fit.flops_per_product == pytest.approx((6, 6, 6))
    near, far = fit.optima
    assert (near.parameters.value, near.tokens.value) == pytest.approx(TRUTH.optimum(1e21), rel=1e-4)
    assert near.loss.value == pytest.approx(TRUTH.at(*TRUTH.optimum(1e21)), rel=1e-6)
    assert (near.is_outside, far.is_outside) == (False, True)
    (usual,) = fit_data(rows, "upstream")[0].optima
    assert usual.budget == pytest.approx(6 * 1e10 * 80e10)


SIZES, DATA = np.meshgrid([1e7, 1e8, 1e9], [1e9, 1e10, 1e11])
SIZES, DATA = SIZES.ravel(), DATA.ravel()
LOSSES = np.array([TRUTH.at(*each) for each in zip(SIZES, DATA, strict=True)])


@pytest.mark.parametrize(
    ("sizes", "data", "losses", "reason"),
    [
        (SIZES[:2], DATA[:2], LOSSES[:2], "it needs 7 models"),
        (np.full(9, 1e8), DATA, LOSSES, "3 different sizes and 3 different amounts of data"),
        (SIZES, np.full(9, 1e9), LOSSES, "3 different sizes and 3 different amounts of data"),
        (np.geomspace(1e7, 1e9, 9), 20 * np.geomspace(1e7, 1e9, 9), LOSSES, "can't be told apart"),
        (SIZES, DATA, 0 * LOSSES, "neither a loss above 0"),
        (SIZES, DATA, np.full(9, 3.0), "does not level off"),
        (SIZES, DATA, 1 + SIZES / 1e9 + DATA / 1e11, "does not level off"),
        (SIZES, DATA, LOSSES - TRUTH.irreducible, "does not level off"),  # no irreducible term
    ],
)
def test_what_has_no_law_says_why(few_samples, sizes, data, losses, reason):
    (fit,) = fit_data(rows_of(sizes, data, losses), "upstream")
    assert isinstance(fit, NoFit) and reason in fit.reason


def test_runs_on_several_texts_have_laws_of_their_own(tmp_path, compare):
    paths = []
    for number, (size, steps) in enumerate(
        (size, steps) for size in ("tiny", "mini", "small") for steps in (100, 400, 900)
    ):
        results = {steps: {"validation/negative_log_perplexity": float("nan") if number == 8 else -3.0 - 1 / steps}}
        fields = {"steps": steps, "results": results, "best": None, "shape": parse_name(size).to_dict()}
        paths.append(save_run(tmp_path / f"run-{number}", **fields))
    code, out, _ = compare(*paths, "--fit", "parameters,tokens:upstream")
    assert code == 0 and "note: left out, since upstream is no number: run-8" in out
    assert "no law of N and D: transformer (n = 8)" in out
    assert (
        "nothing to fit: no models have parameters, tokens and glue"
        in compare("small", "switch-base", "--fit", "parameters,tokens:glue", "--where", "upstream<-90")[1]
    )


def test_the_tables_for_people_and_programs(tmp_path, compare, few_samples):
    paths = []
    for size in ("tiny", "mini", "small", "base"):
        shape = parse_name(size)
        for steps in (1000, 8000, 64_000):
            parameters = {"tiny": 15_570_688, "mini": 31_216_896, "small": 60_506_624, "base": 222_903_552}[size]
            figure = -TRUTH.at(parameters, steps * 32 * 156)
            results = {steps: {"validation/negative_log_perplexity": figure}}
            path = save_run(
                tmp_path / f"{size}-{steps}", steps=steps, results=results, best=None, shape=shape.to_dict()
            )
            paths.append(path)
    code, out, _ = compare(*paths, "--fit", "parameters,tokens:upstream", "--budget", "1e18")
    assert code == 0 and "Least loss for a budget" in out and "geometric mean of the models" in out
    shown = {line.split()[3]: float(line.split()[4]) for line in out.splitlines() if line.startswith("transformer  up")}
    assert shown == pytest.approx({"E": 1.69, "A": 406.4, "B": 410.7, "a": 0.34, "b": 0.28}, rel=1e-3)
    compare(*paths, "--fit", "parameters,tokens:upstream", "--tables", str(tmp_path / "tables"))
    laws, optima = ((tmp_path / f"tables/{name}.csv").read_text() for name in ("data_laws", "compute_optimal"))
    assert laws.startswith("group,quality,n,constant,value,low,high\n")
    assert optima.startswith("group,budget,parameters,parameters/low,parameters/high,tokens,")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fit", "flops,tokens:upstream"], "of two costs, parameters,tokens are accepted"),
        (["--fit", "parameters,tokens:upstrem"], "no column 'upstrem'; did you mean 'upstream'?"),
        (["--budget", "1e18"], "--budget goes with --fit parameters,tokens:QUALITY"),
        (["--fit", "parameters,tokens:upstream", "--budget", "much"], "--budget much: expected a number"),
        (["--fit", "parameters,tokens:upstream", "--budget", "-1"], "--budget -1: a number above 0 is accepted"),
    ],
)
def test_what_does_not_go_together(compare, arguments, message):
    code, out, err = compare("small", *arguments)
    assert (code, out) == (2, "") and message in err and err.count("\n") == 1
