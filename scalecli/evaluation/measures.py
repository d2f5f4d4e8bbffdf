"""Figures of a sample of examples, and how far another sample of the same kind would be from them (the bootstrap).

A `BootstrapMetric` knows its units, the examples or groups of them that are drawn together, and computes its figure
from how often each unit is drawn: once each is the score; a thousand random draws with replacement, in one product of
matrices, give its interval (Efron 1979; percentiles). Units that count alike are kept as one with a multiplicity, which
leaves few: four for the F1 of two labels, whatever the number of examples.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

RESAMPLES = 1_000
CONFIDENCE = 0.95
_SEED = 0  # the same predictions have the same interval, wherever it is computed
_MOST_COUNTS_AT_ONCE = 1 << 22  # 32 MB


@dataclass(frozen=True)
class BootstrapMetric:
    """`figures` maps counts [resamples, units] to fractions [resamples]; unit u stands `multiplicity[u]` times."""

    multiplicity: np.ndarray  # int64 [units]
    figures: Callable[[np.ndarray], np.ndarray]

    def figure(self) -> float:
        """The figure of the sample itself."""
        return float(self.figures(self.multiplicity[None])[0])

    def interval(self) -> tuple[float, float]:
        """The bounds between which the figure of a resample lies with a probability of 95%."""
        total = int(self.multiplicity.sum())
        generator = np.random.default_rng(_SEED)
        at_once = max(1, _MOST_COUNTS_AT_ONCE // len(self.multiplicity))
        sizes = [min(at_once, RESAMPLES - start) for start in range(0, RESAMPLES, at_once)]
        draws = (generator.multinomial(total, self.multiplicity / total, size=size) for size in sizes)
        figures = np.concatenate([self.figures(counts) for counts in draws])
        low, high = np.quantile(figures, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
        return float(low), float(high)


def additive(
    rows: np.ndarray, groups: Sequence[Hashable] | None, figure: Callable[[np.ndarray], np.ndarray]
) -> BootstrapMetric:
    """The metric whose figure is a function of sums over the examples.

    rows: [examples, statistics], float or int. groups: to which each example belongs, None where each stands alone.
    figure: from sums [resamples, statistics] to fractions [resamples].
    """
    if groups is not None:
        indices = _group_indices(groups)
        summed = np.zeros((indices.max() + 1, rows.shape[1]), rows.dtype)
        np.add.at(summed, indices, rows)
        rows = summed
    distinct, multiplicity = np.unique(rows, axis=0, return_counts=True)
    return BootstrapMetric(multiplicity, lambda counts: figure(counts @ distinct))


def mean(values: Sequence[float], groups: Sequence[Hashable] | None = None) -> BootstrapMetric:
    """The metric of the mean over examples of `values`."""
    rows = np.stack([np.asarray(values, float), np.ones(len(values))], axis=1)
    return additive(rows, groups, lambda sums: sums[:, 0] / sums[:, 1])


def mean_of_whole_groups(right: Sequence[bool], groups: Sequence[Hashable]) -> BootstrapMetric:
    """The metric of the share of groups all of whose examples are right."""
    whole = np.ones(len(set(groups)), bool)
    np.logical_and.at(whole, _group_indices(groups), np.asarray(right, bool))
    return mean(whole.astype(float).tolist())


def f1(
    predicted: Sequence[int], true: Sequence[int], classes: Sequence[int], groups: Sequence[Hashable] | None
) -> BootstrapMetric:
    """The metric of the mean over `classes` of F1 = 2 tp / (predicted + true), 0 where neither occurs.

    predicted, true: a class of each example; a number that is in no class is a prediction of none.
    """
    is_predicted = np.equal.outer(np.asarray(predicted), np.asarray(classes))  # [examples, classes]
    is_true = np.equal.outer(np.asarray(true), np.asarray(classes))
    rows = np.concatenate([is_predicted & is_true, is_predicted, is_true], axis=1).astype(np.int64)

    def figure(sums: np.ndarray) -> np.ndarray:
        right, predicted_count, true_count = np.split(sums, 3, axis=1)  # [resamples, classes] each
        return (2 * right / np.maximum(predicted_count + true_count, 1)).mean(axis=1)

    return additive(rows, groups, figure)


def matthews(
    predicted: Sequence[int], true: Sequence[int], classes: int, groups: Sequence[Hashable] | None
) -> BootstrapMetric:
    """The metric of the Matthews correlation of classes 0, 1 ... (Gorodkin 2004), 0 where it is not defined.

    With C the confusion matrix, of n examples: (n tr C - sum_k p_k t_k) / sqrt((n^2 - sum p^2) (n^2 - sum t^2)), where
    p_k and t_k are how often class k is predicted and true.
    """
    cells = np.asarray(true) * classes + np.asarray(predicted)
    rows = np.equal.outer(cells, np.arange(classes**2)).astype(np.int64)

    def figure(sums: np.ndarray) -> np.ndarray:
        matrix = sums.reshape(-1, classes, classes).astype(float)
        true_count, predicted_count, total = matrix.sum(axis=2), matrix.sum(axis=1), matrix.sum(axis=(1, 2))
        above = total * np.trace(matrix, axis1=1, axis2=2) - (true_count * predicted_count).sum(axis=1)
        below = (total**2 - (true_count**2).sum(axis=1)) * (total**2 - (predicted_count**2).sum(axis=1))
        return np.divide(above, np.sqrt(below), out=np.zeros_like(above), where=below > 0)

    return additive(rows, groups, figure)


def pearson(predicted: Sequence[float], true: Sequence[float]) -> BootstrapMetric:
    """The metric of the linear correlation, 0 where it is not defined: where all of either are equal."""
    pairs, multiplicity = np.unique(np.stack([predicted, true], axis=1), axis=0, return_counts=True)
    # Without a common scale the squares of absurd predictions would be infinite.
    pairs = pairs / np.maximum(np.abs(pairs).max(axis=0), np.finfo(float).tiny)
    return BootstrapMetric(multiplicity, lambda counts: _correlation(pairs[None, :, 0], pairs[None, :, 1], counts))


def spearman(predicted: Sequence[float], true: Sequence[float]) -> BootstrapMetric:
    """The metric of the correlation of ranks, ties at their mean rank; otherwise as `pearson`."""
    pairs, multiplicity = np.unique(np.stack([predicted, true], axis=1), axis=0, return_counts=True)
    orders = [np.unique(pairs[:, side], return_inverse=True)[1] for side in (0, 1)]
    return BootstrapMetric(
        multiplicity, lambda counts: _correlation(_ranks(orders[0], counts), _ranks(orders[1], counts), counts)
    )


def _ranks(order: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The mean rank [resamples, units] of each unit; its value is the order[u]-th smallest, drawn so often."""
    is_value = np.equal.outer(order, np.arange(order.max() + 1)).astype(float)  # [units, values]
    of_value = counts @ is_value  # [resamples, values]
    mean_ranks = np.cumsum(of_value, axis=1) - (of_value - 1) / 2
    return mean_ranks[:, order]


def _correlation(x: np.ndarray, y: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The correlation [resamples] of x and y [resamples or 1, units], each unit counted so often."""
    total = counts.sum(axis=1, keepdims=True)
    x = x - (counts * x).sum(axis=1, keepdims=True) / total
    y = y - (counts * y).sum(axis=1, keepdims=True) / total
    xx, yy, xy = ((counts * a * b).sum(axis=1) for a, b in ((x, x), (y, y), (x, y)))
    below = np.sqrt(xx) * np.sqrt(yy)
    # What is left of equal numbers by rounding is no variance.
    defined = np.minimum(xx, yy) > total[:, 0] * np.finfo(float).eps ** 2
    return np.clip(np.divide(xy, below, out=np.zeros_like(below), where=defined), -1.0, 1.0)


def _group_indices(groups: Sequence[Hashable]) -> np.ndarray:
    """The index of each example's group, in the order in which groups occur, int64 [examples]."""
    indices = {group: index for index, group in enumerate(dict.fromkeys(groups))}
    return np.array([indices[group] for group in groups], np.int64)
