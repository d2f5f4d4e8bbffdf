"""What training minimizes, on either backend. keras.ops only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from keras import ops

from scalecli.models.trainable import Trainable


class LossReport(NamedTuple):
    """What is recorded of a loss: the cross-entropy alone (nats per target), and the layers' reports."""

    loss: Any
    reports: dict[str, Any]


def target_count(model: Trainable, batch: Mapping[str, Any]) -> Any:
    """The number of targets of a batch, tokens or labeled images, float32."""
    return ops.sum(model.target_mask(batch))


def part_loss(
    model: Trainable, batch: Mapping[str, Any], seed: Any, *, targets: Any, parts: int, z_loss: float
) -> tuple[Any, LossReport]:
    """What one of `parts` equal parts of a batch adds to the batch's loss, and to what is shown of it.

    The loss is the cross-entropy of the targets plus the z-loss, summed and divided by `targets`, the number of those
    of the whole batch, plus the mean of the parts' own auxiliary losses. Reports are means, too.
    """
    losses = model.losses(batch, seed)
    real = model.target_mask(batch) / targets
    cross_entropy = ops.sum(losses.cross_entropy * real)
    z_losses = z_loss * ops.sum(ops.square(losses.log_normalizer) * real)
    reports = {name: report / parts for name, report in losses.reports.items()}
    return cross_entropy + z_losses + losses.auxiliary_loss / parts, LossReport(cross_entropy, reports)


def part_of(batch: Mapping[str, Any], part: Any, parts: int) -> dict[str, Any]:
    """The rows part, part + parts, part + 2 parts ... of a batch: what is spread over devices stays so."""

    def rows(whole: Any) -> Any:
        divided = ops.reshape(whole, (whole.shape[0] // parts, parts, *whole.shape[1:]))
        return ops.take(divided, part, axis=1)

    return {name: rows(whole) for name, whole in batch.items()}
