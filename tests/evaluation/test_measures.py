"""The bootstrap against its definition: draw examples, or groups, again and again, and compute the metric anew."""

import numpy as np
import pytest
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import f1_score, matthews_corrcoef

from scalecli.evaluation import measures

DRAW = np.random.default_rng(7)
TRUE = DRAW.integers(0, 3, 60)
PREDICTED = np.where(DRAW.random(60) < 0.6, TRUE, DRAW.integers(0, 3, 60))
X = DRAW.normal(size=60).round(1)
Y = (X + DRAW.normal(size=60)).round(1)

CASES = {
    "mean": (measures.mean((PREDICTED == TRUE).tolist()), lambda n: (PREDICTED[n] == TRUE[n]).mean()),
    "f1": (
        measures.f1(PREDICTED, TRUE, range(3), None),
        lambda n: f1_score(TRUE[n], PREDICTED[n], average="macro", labels=range(3), zero_division=0),
    ),
    "matthews": (measures.matthews(PREDICTED, TRUE, 3, None), lambda n: matthews_corrcoef(TRUE[n], PREDICTED[n])),
    "pearson": (measures.pearson(X, Y), lambda n: pearsonr(X[n], Y[n])[0]),
    "spearman": (measures.spearman(X, Y), lambda n: spearmanr(X[n], Y[n])[0]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_figure_is_that_of_the_definition(name):
    measure, definition = CASES[name]
    assert measure.figure() == pytest.approx(definition(np.arange(60)), abs=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_the_interval_is_that_of_drawing_examples(name):
    measure, definition = CASES[name]
    generator = np.random.default_rng(1)
    figures = [definition(generator.integers(0, 60, 60)) for _ in range(1_000)]
    expected = np.quantile(figures, [0.025, 0.975])
    assert measure.interval() == pytest.approx(tuple(expected), abs=0.04)
    assert measure.interval() == measure.interval()


def test_each_resample_is_a_metric_of_a_sample():
    """Counts of the units of two disjoint halves give the figures of the halves."""
    pairs, places = np.unique(np.stack([X, Y], axis=1), axis=0, return_inverse=True)
    halves = [np.arange(30), np.arange(30, 60)]
    counts = np.stack([np.bincount(places.ravel()[half], minlength=len(pairs)) for half in halves])
    for measure, definition in ((measures.pearson(X, Y), pearsonr), (measures.spearman(X, Y), spearmanr)):
        assert measure.figures(counts) == pytest.approx([definition(X[half], Y[half])[0] for half in halves])


def test_groups_are_drawn_together():
    """Ten groups of equal examples vary as ten examples do, not as a hundred."""
    values = np.repeat([0.0, 1.0] * 5, 10)
    low, high = measures.mean(values.tolist()).interval()
    assert high - low < 0.22
    low, high = measures.mean(values.tolist(), np.repeat(range(10), 10).tolist()).interval()
    assert high - low > 0.5


def test_whole_groups():
    right = [True, True, True, False, True]
    assert measures.mean_of_whole_groups(right, ["a", "b", "a", "b", "c"]).figure() == pytest.approx(2 / 3)


def test_many_units_are_drawn_in_parts(monkeypatch):
    whole = measures.mean(X.tolist()).interval()
    monkeypatch.setattr(measures, "_MOST_COUNTS_AT_ONCE", 500)
    assert measures.mean(X.tolist()).interval() == pytest.approx(whole, abs=1e-12)
