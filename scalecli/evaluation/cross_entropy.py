"""Cross-entropy of a model, without dropout or z-loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from keras import ops

from scalecli.devices import Mapped
from scalecli.devices.one_device import ONE_DEVICE
from scalecli.models.trainable import Trainable


class CrossEntropy:
    """Measures a model's cross-entropy on batches, without dropout or z-loss."""

    def __init__(self, model: Trainable, devices: Mapped = ONE_DEVICE) -> None:
        def sums(batch: Mapping[str, Any]) -> tuple[Any, Any]:
            real = model.target_mask(batch)
            return ops.sum(model.losses(batch).cross_entropy * real), ops.sum(real)

        self._sums = devices.mapped(model, sums, "sum")

    def __call__(self, batches: Iterable[Mapping[str, Any]]) -> float:
        """Nats per target over all batches; "negative log-perplexity" in the papers is minus this."""
        total = np.zeros(2)
        for batch in batches:
            total += np.array(self._sums({name: np.asarray(array) for name, array in batch.items()}), float)
        loss, targets = total
        return float(loss / targets)
