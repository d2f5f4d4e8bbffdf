"""Task metrics: how near predicted texts come to target texts, on a scale of 0 to 100 where more is better.

Each metric is one function of (predictions, targets, labels) in `METRICS`, all texts stripped, that returns a fraction;
`score` turns fractions into the papers' scale. Predictions are whatever the model wrote, so each metric says what a
prediction counts as that is no label or no number at all.
"""

from __future__ import annotations

import math
import re
import string
import warnings
from collections import Counter
from collections.abc import Callable, Sequence

from scalecli.errors import ConfigurationError, MissingError, nearest

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = str.maketrans("", "", string.punctuation)


def score(
    metrics: Sequence[str], predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None
) -> dict[str, float]:
    """Returns each metric of the predictions times 100: 0 to 100, and -100 to 100 for the correlations.

    predictions and targets: one text per example, in the same order; ValueError when there aren't equally many.
    labels: the texts of the classes, in the task's order, which f1 and matthews need.

    Raises ConfigurationError for a metric that isn't known, or that these labels and targets can't be scored with;
    MissingError when there is nothing to score.
    """
    for metric in metrics:
        if metric not in METRICS:
            accepted = ", ".join(METRICS)
            raise ConfigurationError(f"metric {metric!r}: not known; it has {accepted}{nearest(metric, METRICS)}")
    if not predictions:
        raise MissingError("no predictions to score: the split has no examples")
    if len(predictions) != len(targets):
        raise ValueError(f"{len(predictions)} predictions for {len(targets)} targets")
    predictions, targets = [text.strip() for text in predictions], [text.strip() for text in targets]
    return {metric: 100.0 * METRICS[metric](predictions, targets, labels) for metric in metrics}


def baseline(metrics: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None) -> dict[str, float]:
    """Returns, on the scale of `score`, what the best constant prediction gets: what a model has to beat.

    The constant is the most frequent target; with labels, the target that is best by the metric, since the most
    frequent one can be a negative class, whose f1 is 0. Correlations with a constant are 0. Raises as `score` does.
    """
    constants = [text for text, _ in Counter(targets).most_common(None if labels else 1)]
    # Without targets there is no constant either: any will do for `score` to say that nothing is there.
    scores = [score(metrics, [constant] * len(targets), targets, labels) for constant in constants or [""]]
    return {metric: max(each[metric] for each in scores) for metric in metrics}


def accuracy(predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None) -> float:
    """Returns the share of predictions that are the target, letter by letter."""
    return _mean([float(prediction == target) for prediction, target in zip(predictions, targets, strict=True)])


def f1(predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None) -> float:
    """Returns F1 of the second of two labels (GLUE), or the mean of F1 over all of more (SuperGLUE's CB).

    A prediction that is no label counts as the wrong one of two labels, and as none of more. A class without true
    positives has F1 of 0, one that never occurs among them. Raises ConfigurationError as `_classes` does.
    """
    from sklearn.metrics import f1_score

    predicted, true, count = _classes("f1", predictions, targets, labels)
    averaged = [1] if count == 2 else list(range(count))
    return float(f1_score(true, predicted, labels=averaged, average="macro", zero_division=0.0))


def matthews(predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None) -> float:
    """Returns the Matthews correlation, -1 to 1, in its form for many classes (Gorodkin 2004) beyond two labels.

    A prediction that is no label counts as the wrong one of two labels, and as a class of its own beside more. It is 0
    where it isn't defined: when all predictions or all targets are of one class. Raises ConfigurationError as
    `_classes` does.
    """
    from sklearn.metrics import matthews_corrcoef

    predicted, true, _ = _classes("matthews", predictions, targets, labels)
    return float(matthews_corrcoef(true, predicted))


def pearson(predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None) -> float:
    """Returns the linear correlation of the numbers, -1 to 1; a prediction that is no number counts as -1 (T5).

    It is 0 where it isn't defined: when all predictions or all targets are equal, or there is only one. Raises
    ConfigurationError for a target that is no number.
    """
    from scipy.stats import pearsonr

    return _correlation("pearson", pearsonr, predictions, targets)


def spearman(predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None) -> float:
    """Returns the correlation of the numbers' ranks, ties at their mean rank; otherwise as `pearson`."""
    from scipy.stats import spearmanr

    return _correlation("spearman", spearmanr, predictions, targets)


def exact_match(predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None) -> float:
    """Returns the share of predictions with the target's words, as SQuAD compares them (Rajpurkar et al. 2016, 6.1)."""
    pairs = zip(predictions, targets, strict=True)
    return _mean([float(_words(prediction) == _words(target)) for prediction, target in pairs])


def token_f1(predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None) -> float:
    """Returns the mean over examples of F1 between the words of prediction and target (Rajpurkar et al. 2016, 6.1).

    A word counts as often as it occurs in both. Without words on either side F1 is 1, without on one side 0.
    """
    pairs = zip(predictions, targets, strict=True)
    return _mean([_overlap(_words(prediction), _words(target)) for prediction, target in pairs])


# Task files are checked against these names too (scalecli.data.tasks), which can't import from here.
METRICS: dict[str, Callable[[Sequence[str], Sequence[str], Sequence[str] | None], float]] = {
    "accuracy": accuracy,
    "f1": f1,
    "matthews": matthews,
    "pearson": pearson,
    "spearman": spearman,
    "exact_match": exact_match,
    "token_f1": token_f1,
}


def _classes(
    metric: str, predictions: Sequence[str], targets: Sequence[str], labels: Sequence[str] | None
) -> tuple[list[int], list[int], int]:
    """Returns predictions and targets as places in the list of distinct labels, and how many those are.

    A prediction that is no label becomes the other label than the truth where there are two, and -1 where there are
    more. Raises ConfigurationError without two labels, and for a target that is none of them.
    """
    places = {label: place for place, label in enumerate(dict.fromkeys(label.strip() for label in labels or ()))}
    if len(places) < 2:
        raise ConfigurationError(f"metric {metric!r}: labels: the task must list two or more, and has {len(places)}")
    for target in targets:
        if target not in places:
            accepted = ", ".join(map(repr, places))
            raise ConfigurationError(
                f"metric {metric!r}: labels: target {target!r} is none of {accepted}{nearest(target, places)}"
            )
    true = [places[target] for target in targets]
    invalid = [1 - place if len(places) == 2 else -1 for place in true]
    predicted = [places.get(prediction, wrong) for prediction, wrong in zip(predictions, invalid, strict=True)]
    return predicted, true, len(places)


def _correlation(
    metric: str, function: Callable[..., tuple[float, float]], predictions: Sequence[str], targets: Sequence[str]
) -> float:
    """Returns the first value of scipy's `function` of the numbers, or 0 where it isn't defined."""
    predicted = [_number(text, -1.0) for text in predictions]
    true = [_number(text, math.nan) for text in targets]
    for number, text in zip(true, targets, strict=True):
        if math.isnan(number):
            raise ConfigurationError(f"metric {metric!r}: target {text!r} is not a number")
    if len(set(predicted)) == 1 or len(set(true)) == 1:
        return 0.0
    # What a model writes can be too large, or too nearly equal, for scipy to do more than warn.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        correlation = float(function(predicted, true)[0])
    return correlation if math.isfinite(correlation) else 0.0


def _number(text: str, default: float) -> float:
    """Returns the finite number that a text is, else `default`."""
    try:
        number = float(text)
    except ValueError:
        return default
    return number if math.isfinite(number) else default


def _words(text: str) -> list[str]:
    """Returns the words that SQuAD compares: lower case, no ASCII punctuation, no articles.

    Punctuation goes first and leaves no space, so "U.S." is one word and "the." an article.
    """
    return _ARTICLES.sub(" ", text.lower().translate(_PUNCTUATION)).split()


def _overlap(predicted: list[str], true: list[str]) -> float:
    """Returns F1 of two lists of words: 2 * shared / (number of both), since precision and recall share a numerator."""
    if not predicted and not true:
        return 1.0
    shared = (Counter(predicted) & Counter(true)).total()
    return 2 * shared / (len(predicted) + len(true))


def _mean(values: list[float]) -> float:
    return math.fsum(values) / len(values)
