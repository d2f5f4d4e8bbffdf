"""Ridge regression in closed form, against its definition; draws of a few images, and the interval over seeds."""

import numpy as np
import pytest
from scipy import stats

from scalecli.errors import ConfigurationError, MissingError
from scalecli.evaluation.few_shot import PENALTIES, FewShot, draw_shots, figures, interval, ridge_accuracy

CLASSES = 3


def clouds(images, width=5, spread=1.5, seed=0):
    """Features of classes around centres of their own, and labels."""
    random = np.random.default_rng(seed)
    labels = np.arange(images) % CLASSES
    centres = np.random.default_rng(1).normal(size=(CLASSES, width))
    features = centres[labels] + spread * random.normal(size=(images, width))
    return (features * np.arange(1, width + 1) + 7).astype(np.float32), labels


def by_definition(x, labels, tests, penalty):
    """Outputs of the tests: a linear system for centred features and labels."""
    one_hot = np.eye(CLASSES)[labels]
    centre = x.mean(axis=0)
    inverse = np.linalg.inv((x - centre).T @ (x - centre) + penalty * len(x) * np.eye(x.shape[1]))
    weights = inverse @ (x - centre).T @ (one_hot - one_hot.mean(axis=0))
    return (tests - centre) @ weights + one_hot.mean(axis=0)


def leave_one_out(x, labels, penalty):
    """The square error of each image as predicted from the others, with the same centring and total penalty."""
    total = 0.0
    for left in range(len(x)):
        rest = np.arange(len(x)) != left
        output = by_definition(x[rest], labels[rest], x[left], penalty * len(x) / (len(x) - 1))
        total += np.square(np.eye(CLASSES)[labels[left]] - output).sum()
    return total


@pytest.mark.parametrize(("images", "width"), [(30, 5), (12, 20)])
def test_it_is_ridge_regression_with_the_penalty_that_predicts_the_images_left_out_best(images, width):
    x, labels = clouds(images, width)
    tests, answers = clouds(500, width, seed=2)
    mean, deviation = x.mean(axis=0), x.std(axis=0)
    x, tests = ((each.astype("float64") - mean) / deviation for each in (x, tests))
    best = min(PENALTIES, key=lambda penalty: leave_one_out(x, labels, penalty))
    expected = 100 * np.mean(by_definition(x, labels, tests, best).argmax(axis=1) == answers)
    assert ridge_accuracy(x, labels, tests, answers, CLASSES) == pytest.approx(expected)
    assert 50 < expected < 100


def test_features_of_one_value_and_of_any_scale():
    x, labels = clouds(30)
    tests, answers = clouds(300, seed=2)
    expected = ridge_accuracy(x, labels, tests, answers, CLASSES)
    scaled = ridge_accuracy(1000 * x - 5, labels, 1000 * tests - 5, answers, CLASSES)
    assert scaled == pytest.approx(expected, abs=0.5)
    constant = [np.concatenate([each, np.ones((len(each), 1))], axis=1) for each in (x, tests)]
    constant[1][:, -1] = 50  # what never varies tells nothing
    assert ridge_accuracy(constant[0], labels, constant[1], answers, CLASSES) == pytest.approx(expected)
    nothing = np.ones_like(x)
    assert ridge_accuracy(nothing, labels, nothing, labels, CLASSES) == pytest.approx(100 / 3)


def test_draws_have_as_many_of_each_class_and_differ_by_seed():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [30, 10, 50]))
    draws = draw_shots(labels, FewShot(10, 4), "abc", "images")
    assert len(draws) == 4
    for draw in draws:
        assert np.bincount(labels[draw]).tolist() == [10, 10, 10]
        assert len(set(draw)) == 30 and (np.diff(draw) > 0).all()
    assert len({tuple(draw) for draw in draws}) == 4
    again = draw_shots(labels, FewShot(10, 5), "abc", "images")
    np.testing.assert_array_equal(again[:4], draws)


def test_too_few_images_of_a_class_are_one_line():
    labels = np.array([0] * 12 + [1] * 9 + [3] * 3)
    with pytest.raises(MissingError) as error:
        draw_shots(labels, FewShot(10), ("ant", "bee", "cat", "dog"), "some images")
    assert str(error.value) == (
        "some images: class 'bee' has 9 images, and 10 are needed, and 2 more classes have too few; "
        "a lower --few-shot is accepted"
    )


def test_the_interval_is_students_on_the_logit_scale():
    accuracies = [50.0, 54.0, 52.0, 55.0]
    found = figures(accuracies)
    # Mean 0.5275, standard error 0.0110868, of the logit 0.0444814; the 97.5% quantile of t with 3 degrees of freedom
    # is 3.1824463 by the tables: logit 0.1101111 -/+ 0.1415596.
    assert found["few_shot/accuracy"] == pytest.approx(52.75)
    assert found["few_shot/accuracy/low"] == pytest.approx(100 / (1 + np.exp(0.0314485)), abs=1e-4)
    assert found["few_shot/accuracy/high"] == pytest.approx(100 / (1 + np.exp(-0.2516707)), abs=1e-4)
    assert [found[f"few_shot/accuracy/seed_{seed}"] for seed in range(4)] == accuracies
    # Where there is room around the mean, it is what Student's t is without the logits, to a tenth of a point.
    assert interval(accuracies) == pytest.approx(
        stats.t.interval(0.95, 3, loc=np.mean(accuracies), scale=stats.sem(accuracies)), abs=0.1
    )


@pytest.mark.parametrize("accuracies", [(86.0, 100.0), (100.0, 98.0, 99.0), (0.0, 3.0), (0.1, 0.1, 0.1, 0.1, 90.0)])
def test_the_interval_stays_within_0_and_100_and_has_the_mean(accuracies):
    low, high = interval(accuracies)
    assert 0 <= low < np.mean(accuracies) < high <= 100


def test_seeds_without_spread_have_an_interval_without_width():
    assert interval([100.0, 100.0]) == (100.0, 100.0) and interval([0.0, 0.0, 0.0]) == (0.0, 0.0)
    assert interval([40.0, 40.0]) == pytest.approx((40.0, 40.0))


@pytest.mark.parametrize(("values", "message"), [((0, 5), "--few-shot is 0"), ((1, 1), "--seeds is 1; 2 or more")])
def test_what_cannot_be_asked_for(values, message):
    with pytest.raises(ConfigurationError, match=message):
        FewShot(*values)
