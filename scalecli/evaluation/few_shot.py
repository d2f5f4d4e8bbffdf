"""Few-shot accuracy of frozen features: ridge regression in closed form from a few images of each class.

Features of N images a class are mapped onto one-hot labels by regularised least squares, and a test image is of the
class whose output is the highest (Dosovitskiy et al. 2021, section 4.1; "Scale Efficiently", appendix .1, with N = 10).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from scalecli.errors import ConfigurationError, MissingError
from scalecli.results import FEW_SHOT_ACCURACY

LEVEL = 0.95
# Of the mean square of a feature, which is one. The one that predicts each of the few images best from the others.
PENALTIES = tuple(2.0**power for power in range(-10, 21))
_CONSTANT = 1e-5  # a feature that varies by less tells nothing apart


@dataclass(frozen=True)
class FewShot:
    """How few-shot accuracy is measured: `shots` images of each class, drawn anew for each of the seeds 0, 1 ...

    Raises:
        ConfigurationError: no image, or too few seeds for an interval.
    """

    shots: int
    seeds: int = 5

    def __post_init__(self) -> None:
        if self.shots < 1:
            raise ConfigurationError(f"--few-shot is {self.shots}; 1 or more images a class are accepted")
        if self.seeds < 2:
            raise ConfigurationError(f"--seeds is {self.seeds}; 2 or more are accepted")


def draw_shots(labels: np.ndarray, few_shot: FewShot, classes: Sequence[str], name: str) -> list[np.ndarray]:
    """The numbers of the images of each seed's draw, ascending: int64 [classes * shots] each.

    Args:
        labels: of the images to draw from, int [images].
        few_shot: how many of each class, and how many draws.
        classes: the names of the labels, for the error.
        name: of the images, for the error.

    Raises:
        MissingError: a class has fewer images.
    """
    counts = np.bincount(labels, minlength=len(classes))
    if counts.min() < few_shot.shots:
        scarce = np.flatnonzero(counts < few_shot.shots)
        more = f", and {len(scarce) - 1} more classes have too few" if len(scarce) > 1 else ""
        raise MissingError(
            f"{name}: class {classes[scarce[0]]!r} has {counts[scarce[0]]} images, and {few_shot.shots} are needed"
            f"{more}; a lower --few-shot is accepted"
        )
    images_by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    draws = []
    for seed in range(few_shot.seeds):
        random = np.random.default_rng(seed)
        draws.append(
            np.sort(
                np.concatenate([random.choice(images, few_shot.shots, replace=False) for images in images_by_class])
            )
        )
    return draws


def ridge_accuracy(
    features: np.ndarray, labels: np.ndarray, test_features: np.ndarray, test_labels: np.ndarray, classes: int
) -> float:
    """Percentage of test images whose class a ridge regression finds.

    Features are brought to mean 0 and variance 1 as the few images have them. The penalty is the one with the smallest
    square error when each of the few images is predicted from all others (leave-one-out, in closed form).

    Args:
        features: of the few images, float [images, width].
        labels: theirs, int [images].
        test_features: float [tests, width].
        test_labels: int [tests].
        classes: how many.
    """
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    scale = np.where(deviation > _CONSTANT, 1 / np.maximum(deviation, _CONSTANT), 0.0)
    x, tests = ((rows - mean) * scale for rows in (features.astype(np.float64), test_features.astype(np.float64)))
    one_hot = np.eye(classes)[labels]
    targets = one_hot - one_hot.mean(axis=0)  # the mean is the intercept, which has no penalty
    left, singular, right = np.linalg.svd(x, full_matrices=False)  # [images, rank], [rank], [rank, width]
    projected = left.T @ targets
    squares = singular**2

    def error(penalty: float) -> float:
        shrunk = squares / (squares + penalty * len(x))
        residuals = targets - left @ (shrunk[:, None] * projected)
        leverage = left**2 @ shrunk + 1 / len(x)  # how much of an image's own label is in its prediction
        return float(np.square(residuals / np.maximum(1 - leverage, 1e-9)[:, None]).sum())

    penalty = min(PENALTIES, key=error)
    shrinking = singular / (squares + penalty * len(x))
    outputs = tests @ (right.T @ (shrinking[:, None] * projected)) + one_hot.mean(axis=0)
    return float(100 * np.mean(outputs.argmax(axis=1) == test_labels))


def figures(accuracies: Sequence[float]) -> dict[str, float]:
    """The mean over seeds with its 95% interval, and each seed's own, as results of a manifest."""
    low, high = interval(accuracies)
    return {
        FEW_SHOT_ACCURACY: float(np.mean(accuracies)),
        f"{FEW_SHOT_ACCURACY}/low": low,
        f"{FEW_SHOT_ACCURACY}/high": high,
        **{f"{FEW_SHOT_ACCURACY}/seed_{seed}": accuracy for seed, accuracy in enumerate(accuracies)},
    }


def interval(accuracies: Sequence[float]) -> tuple[float, float]:
    """The 95% interval of a mean of percentages: Student's t on the logit scale, so that it never leaves 0 to 100.

    The standard error of logit(p) is that of p over p (1 - p), as surveys have it for shares (Korn and Graubard,
    "Analysis of Health Surveys", 1999). A mean of 0 or 100 has no spread: all percentages are equal.
    """
    from scipy import special

    shares = np.asarray(accuracies) / 100
    mean, error = shares.mean(), shares.std(ddof=1) / math.sqrt(len(shares))
    if not 0 < mean < 1:
        return float(100 * mean), float(100 * mean)
    half = special.stdtrit(len(shares) - 1, (1 + LEVEL) / 2) * error / (mean * (1 - mean))
    low, high = special.expit(special.logit(mean) + np.array([-half, half]))
    return float(100 * low), float(100 * high)


class Features:
    """What a frozen model makes of images, on the devices."""

    def __init__(self, model: Any, devices: Any) -> None:
        """`model` is a `VisionTransformer`, `devices` are `devices.Mapped`."""
        self._features = devices.mapped(model, lambda batch: model.features(batch["images"]), "rows")

    def __call__(self, batches: Iterator[Mapping[str, np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Features [images, width] and labels [images] of each batch, without what fills it up."""
        for batch in batches:
            real = batch["labels"] >= 0
            yield self._features({"images": batch["images"]})[real], batch["labels"][real]
