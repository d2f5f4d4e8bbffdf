"""Cross-entropy of a model on text, without dropout or z-loss."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from keras import ops

from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder, token_losses


class CrossEntropy:
    """Measures a model's cross-entropy on batches, without dropout or z-loss."""

    def __init__(self, model: EncoderDecoder) -> None:
        def sums(batch: Mapping[str, Any]) -> tuple[Any, Any]:
            real = ops.cast(batch["targets"] > 0, "float32")
            losses = token_losses(model(batch), batch["targets"])
            return ops.sum(losses * real), ops.sum(real)

        self._sums = compiled(model, sums)

    def __call__(self, batches: Iterable[Mapping[str, Any]]) -> float:
        """Nats per target token over all batches; "negative log-perplexity" in the papers is minus this."""
        loss, tokens = 0.0, 0.0
        for batch in batches:
            of_batch = self._sums(dict(batch))
            loss, tokens = loss + float(of_batch[0]), tokens + float(of_batch[1])
        return loss / tokens
