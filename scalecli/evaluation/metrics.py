"""Task metrics: how near predicted texts come to what was to be written, on a scale of 0 to 100 where more is better.

Each metric is one function of `Outcomes` in `METRICS`; it returns a `BootstrapMetric` of fractions, whose figure and
interval `score` turns into the papers' scale. Predictions are whatever the model wrote, so each metric says what a
prediction counts as that is no label or no number at all.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace

from scalecli.data.tasks.schema import METRICS as NAMES
from scalecli.data.tasks.task import Example
from scalecli.errors import ConfigurationError, MissingError, nearest
from scalecli.evaluation import answers, measures
from scalecli.evaluation.measures import BootstrapMetric

_NO_ANSWER = "-"


@dataclass(frozen=True)
class Score:
    """A score and its 95% bootstrap interval, from 0 to 100 (correlations from -100), and of how many examples."""

    value: float
    low: float
    high: float
    examples: int


@dataclass(frozen=True)
class Outcomes:
    """Predictions beside what they are compared with, example by example, all texts stripped.

    `accepted` are the right answers of each. `groups` are drawn, and by some metrics judged, as one; None where each
    example stands alone. `labels` are the texts of the classes in the task's order. `truths` say whether the target is
    to be named, where that is the question.
    """

    predictions: list[str]
    targets: list[str]
    accepted: list[tuple[str, ...]]
    groups: list[Hashable] | None
    labels: list[str] | None
    truths: list[int | None]

    @classmethod
    def of(cls, predictions: Sequence[str], examples: Sequence[Example], labels: Sequence[str] | None) -> Outcomes:
        """The outcomes of predictions, one for each example.

        Raises:
            ValueError: there aren't equally many.
            MissingError: there are none.
        """
        if not examples:
            raise MissingError("no predictions to score: the split has no examples")
        if len(predictions) != len(examples):
            raise ValueError(f"{len(predictions)} predictions for {len(examples)} examples")
        groups = [example.group for example in examples]
        return cls(
            predictions=[text.strip() for text in predictions],
            targets=[example.target.strip() for example in examples],
            accepted=[tuple(text.strip() for text in example.answers or [example.target]) for example in examples],
            groups=None if None in groups else list(groups),
            labels=None if labels is None else list(dict.fromkeys(label.strip() for label in labels)),
            truths=[example.label for example in examples],
        )


def score(
    metrics: Sequence[str], predictions: Sequence[str], examples: Sequence[Example], labels: Sequence[str] | None
) -> dict[str, Score]:
    """Each metric of the predictions times 100, in the order asked for.

    predictions: one text for each example, in the same order; ValueError when there aren't equally many. labels: the
    texts of the classes, in the task's order, which f1 and matthews need.

    Raises:
        ConfigurationError: a metric isn't known, or these labels and answers can't be scored with it.
        MissingError: there is nothing to score.
    """
    measured = _measures(metrics, Outcomes.of(predictions, examples, labels))
    scores = {}
    for metric, measure in measured.items():
        low, high = measure.interval()
        scores[metric] = Score(100 * measure.figure(), 100 * low, 100 * high, len(examples))
    return scores


def baseline(metrics: Sequence[str], examples: Sequence[Example], labels: Sequence[str] | None) -> dict[str, float]:
    """What the best constant prediction gets, on the scale of `score`: what a model has to beat.

    The constant is the most frequent target, or a text that is no answer to anything; with labels, the one that is best
    by the metric, since the most frequent one can be a negative class, whose f1 is 0. Correlations with a constant are
    0. Raises as `score` does.
    """
    frequent = Counter(example.target for example in examples).most_common(None if labels else 1)
    constants = [*(text for text, _ in frequent), _NO_ANSWER]
    figures = [_measures(metrics, Outcomes.of([constant] * len(examples), examples, labels)) for constant in constants]
    return {metric: max(100 * by_metric[metric].figure() for by_metric in figures) for metric in metrics}


def _measures(metrics: Sequence[str], outcomes: Outcomes) -> dict[str, BootstrapMetric]:
    for metric in metrics:
        if metric not in METRICS:
            accepted = ", ".join(METRICS)
            raise ConfigurationError(f"metric {metric!r}: not known; it has {accepted}{nearest(metric, METRICS)}")
    return {metric: METRICS[metric](outcomes) for metric in metrics}


def accuracy(outcomes: Outcomes) -> BootstrapMetric:
    """The share of predictions that are a right answer, letter by letter."""
    return measures.mean([float(value) for value in _right(outcomes)], outcomes.groups)


def group_exact_match(outcomes: Outcomes) -> BootstrapMetric:
    """The share of groups, such as the answers to one question, all of whose predictions are right (MultiRC's EM).

    Raises ConfigurationError where examples are of no group.
    """
    if outcomes.groups is None:
        raise ConfigurationError("metric 'group_exact_match': the examples are of no groups")
    return measures.mean_of_whole_groups(_right(outcomes), outcomes.groups)


def referent_accuracy(outcomes: Outcomes) -> BootstrapMetric:
    """The share of predictions that name the target where it is the pronoun's referent, and only there (WSC).

    A prediction without words is wrong. Raises ConfigurationError where the examples don't say what is true.
    """
    if any(truth not in (0, 1) for truth in outcomes.truths):
        raise ConfigurationError(
            "metric 'referent_accuracy': the examples don't say whether the target is the referent"
        )
    named = [answers.names_referent(*pair) for pair in zip(outcomes.predictions, outcomes.targets, strict=True)]
    right = [name is not None and name == bool(truth) for name, truth in zip(named, outcomes.truths, strict=True)]
    return measures.mean([float(value) for value in right], outcomes.groups)


def f1(outcomes: Outcomes) -> BootstrapMetric:
    """F1 of the second of two labels (GLUE, MultiRC), or the mean of F1 over all of more (SuperGLUE's CB).

    A prediction that is no label counts as the wrong one of two labels, and as none of more (T5). A class without true
    positives has F1 of 0, one that never occurs among them. Raises ConfigurationError as `_classes` does.
    """
    predicted, true, count = _classes("f1", outcomes)
    if count == 2:
        predicted = [1 - label if guess == count else guess for guess, label in zip(predicted, true, strict=True)]
    return measures.f1(predicted, true, [1] if count == 2 else range(count), outcomes.groups)


def matthews(outcomes: Outcomes) -> BootstrapMetric:
    """The Matthews correlation, -1 to 1, in its form for many classes (Gorodkin 2004).

    A prediction that is no label counts as a class of its own (T5). It is 0 where it isn't defined: when all
    predictions or all answers are of one class. Raises ConfigurationError as `_classes` does.
    """
    predicted, true, count = _classes("matthews", outcomes)
    return measures.matthews(predicted, true, count + 1, outcomes.groups)


def pearson(outcomes: Outcomes) -> BootstrapMetric:
    """The linear correlation of the numbers, -1 to 1; a prediction that is no number counts as -1 (T5).

    It is 0 where it isn't defined: when all predictions or all answers are equal, or there is only one. Raises
    ConfigurationError for an answer that is no number.
    """
    return measures.pearson(*_numbers("pearson", outcomes))


def spearman(outcomes: Outcomes) -> BootstrapMetric:
    """The correlation of the numbers' ranks, ties at their mean rank; otherwise as `pearson`."""
    return measures.spearman(*_numbers("spearman", outcomes))


def exact_match(outcomes: Outcomes) -> BootstrapMetric:
    """The share of predictions with the words of a right answer, as SQuAD compares them (Rajpurkar et al. 2016)."""
    return _mean_of_best(answers.exact, outcomes)


def token_f1(outcomes: Outcomes) -> BootstrapMetric:
    """The mean of F1 between the words of a prediction and of the nearest answer (Rajpurkar et al. 2016, 6.1)."""
    return _mean_of_best(answers.overlap, outcomes)


def squad_v2_exact_match(outcomes: Outcomes) -> BootstrapMetric:
    """`exact_match` as the script of SQuAD v2 has it (Rajpurkar et al. 2018).

    A question without an answer is right where none is predicted: `UNANSWERABLE`, or no words. Of the answers to
    others, those without words don't count.
    """
    return _mean_of_best(answers.exact, _with_empty_answers(outcomes))


def squad_v2_f1(outcomes: Outcomes) -> BootstrapMetric:
    """`token_f1` as the script of SQuAD v2 has it: where there is no answer, 1 if none is predicted, else 0."""
    return _mean_of_best(answers.overlap_or_both_empty, _with_empty_answers(outcomes))


def rouge_l(outcomes: Outcomes) -> BootstrapMetric:
    """The mean of ROUGE-L's F-measure (Lin 2004) of a prediction and the nearest answer, each as one sentence."""
    return _mean_of_best(answers.rouge_l, outcomes)


def rouge_lsum(outcomes: Outcomes) -> BootstrapMetric:
    """The mean of summary-level ROUGE-L, which T5 and the papers report: sentences are compared one by one.

    T5 prints the median of the means of a thousand resamples instead of the mean itself: the same but for noise.
    """
    return _mean_of_best(answers.rouge_lsum, outcomes)


# Each name that a task file may have is that of a function above.
METRICS: dict[str, Callable[[Outcomes], BootstrapMetric]] = {name: globals()[name] for name in NAMES}


def _right(outcomes: Outcomes) -> list[bool]:
    return [text in accepted for text, accepted in zip(outcomes.predictions, outcomes.accepted, strict=True)]


def _with_empty_answers(outcomes: Outcomes) -> Outcomes:
    """The outcomes with an empty text wherever one says that there is no answer."""
    accepted = ([answers.without_answer(text) for text in texts] for texts in outcomes.accepted)
    return replace(
        outcomes,
        predictions=[answers.without_answer(text) for text in outcomes.predictions],
        accepted=[tuple(text for text in texts if answers.squad_words(text)) or ("",) for texts in accepted],
    )


def _mean_of_best(compare: Callable[[str, str], float], outcomes: Outcomes) -> BootstrapMetric:
    pairs = zip(outcomes.predictions, outcomes.accepted, strict=True)
    return measures.mean([answers.best_of(compare, *pair) for pair in pairs], outcomes.groups)


def _classes(metric: str, outcomes: Outcomes) -> tuple[list[int], list[int], int]:
    """Predictions and answers as indices into the list of labels, and how many labels there are.

    A prediction that is no label has the index behind the last. Raises ConfigurationError without two labels, and for
    an answer that is none of them.
    """
    indices = {label: index for index, label in enumerate(outcomes.labels or ())}
    if len(indices) < 2:
        raise ConfigurationError(f"metric {metric!r}: labels: the task must list two or more, and has {len(indices)}")
    for target in outcomes.targets:
        if target not in indices:
            accepted = ", ".join(map(repr, indices))
            raise ConfigurationError(
                f"metric {metric!r}: labels: target {target!r} is none of {accepted}{nearest(target, indices)}"
            )
    predicted = [indices.get(prediction, len(indices)) for prediction in outcomes.predictions]
    return predicted, [indices[target] for target in outcomes.targets], len(indices)


def _numbers(metric: str, outcomes: Outcomes) -> tuple[list[float], list[float]]:
    """Predictions and answers as numbers. Raises ConfigurationError for an answer that is none."""
    predicted = [_number(text, -1.0) for text in outcomes.predictions]
    true = [_number(text, math.nan) for text in outcomes.targets]
    for number, text in zip(true, outcomes.targets, strict=True):
        if math.isnan(number):
            raise ConfigurationError(f"metric {metric!r}: target {text!r} is not a number")
    return predicted, true


def _number(text: str, default: float) -> float:
    """The finite number that a text is, else `default`."""
    try:
        number = float(text)
    except ValueError:
        return default
    return number if math.isfinite(number) else default
