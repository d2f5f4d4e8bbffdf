"""Rank classification: of a task's labels, the one to which the model gives the highest probability (GPT-3, 2.4)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from keras import ops

from scalecli.devices import Mapped
from scalecli.devices.one_device import ONE_DEVICE
from scalecli.models.encoder_decoder import EncoderDecoder


def label_ranker(
    model: EncoderDecoder, labels: Sequence[np.ndarray], devices: Mapped = ONE_DEVICE
) -> Callable[[Any], np.ndarray]:
    """A function from inputs [batch, inputs] (int32) to the index of the likeliest label, int [batch].

    labels: the ids of each, with the end of sequence. The probability is that of the whole label, with no regard to how
    many tokens it has. A new shape of inputs compiles again.
    """
    longest = max(map(len, labels))
    texts = np.stack([np.pad(label, (0, longest - len(label))) for label in labels]).astype(np.int32)

    def likeliest(inputs: Any) -> Any:
        batch = inputs.shape[0]
        targets = ops.tile(ops.convert_to_tensor(texts), (batch, 1))  # [batch * labels, longest]
        losses = model.losses({"inputs": ops.repeat(inputs, len(labels), axis=0), "targets": targets}).cross_entropy
        losses = losses * ops.cast(targets > 0, "float32")
        return ops.argmin(ops.reshape(ops.sum(losses, axis=1), (batch, len(labels))), axis=1)

    rank = devices.mapped(model, likeliest, "rows")
    return lambda inputs: rank(np.asarray(inputs, "int32"))
