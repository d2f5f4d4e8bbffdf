"""Accuracy and cross-entropy of a model that tells classes of images apart, without dropout or z-loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from keras import ops

from scalecli.devices import Mapped
from scalecli.devices.one_device import ONE_DEVICE
from scalecli.models.losses import cross_entropy
from scalecli.models.vision import VisionTransformer


class Classification:
    """Measures a model on batches of labeled images."""

    def __init__(self, model: VisionTransformer, devices: Mapped = ONE_DEVICE) -> None:
        def sums(batch: Mapping[str, Any]) -> tuple[Any, Any, Any]:
            real, logits, labels = model.target_mask(batch), model(batch), batch["labels"]
            losses, _ = cross_entropy(logits, labels)
            correct = ops.cast(ops.equal(ops.argmax(logits, axis=-1), labels), "float32")
            return ops.sum(losses * real), ops.sum(correct * real), ops.sum(real)

        self._sums = devices.mapped(model, sums, "sum")

    def __call__(self, batches: Iterable[Mapping[str, Any]]) -> dict[str, float]:
        """`accuracy` in percent and `cross_entropy` in nats an image, over all batches."""
        total = np.zeros(3)
        for batch in batches:
            total += np.array(self._sums({name: np.asarray(array) for name, array in batch.items()}), float)
        loss, correct, images = total
        return {"accuracy": 100 * correct / images, "cross_entropy": loss / images}
