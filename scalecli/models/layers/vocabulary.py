"""The token embedding and the output heads. keras.ops only."""

from __future__ import annotations

from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.compiled import materialized
from scalecli.models.layers.base import SpecLayer, Weights


class Embedding(SpecLayer):
    """A row of the table for each token; projected to d_model where the table is narrower (ALBERT, section 3.1)."""

    spec: specs.Embedding

    def call(self, weights: Weights, tokens: Any) -> Any:
        """[batch, length] int32 -> [batch, length, d_model]."""
        (embedded,) = materialized(ops.take(weights["table"], tokens, axis=0))  # or norms would look it up again
        return embedded if self.spec.size is None else ops.matmul(embedded, weights["projection"])


class OutputHead(SpecLayer):
    """Logits of the vocabulary from the decoder's output.

    `prepare` computes once, from the head's own weights and the embedding's, what `call` takes for every token.
    """

    def prepare(self, embedding: Weights) -> Weights:
        """The tensors that `call` uses; `embedding` are the embedding's weights."""
        raise NotImplementedError


class Logits(OutputHead):
    """h W, where W is the head's own matrix or, tied, the embedding; T5 v1 scales h by d_model^-0.5."""

    spec: specs.Logits

    def prepare(self, embedding: Weights) -> Weights:
        """`kernel` [d_model or embedding_size, vocabulary]; `projection` [d_model, embedding_size] when factorized.

        And `bias` [vocabulary] where there is one.
        """
        own = self.weights_for_compute()
        if not self.spec.tied:
            return own
        tied = {"kernel" if name == "table" else name: ops.transpose(weight) for name, weight in embedding.items()}
        return {**tied, **own}

    def call(self, prepared: Weights, hidden: Any) -> Any:
        """[batch, length, d_model] -> [batch, length, vocabulary] in float32."""
        if self.spec.scaled:
            hidden = hidden * self.spec.d_model**-0.5
        if "projection" in prepared:
            hidden = ops.matmul(hidden, prepared["projection"])
        logits = ops.cast(ops.matmul(hidden, prepared["kernel"]), "float32")
        return logits + ops.cast(prepared["bias"], "float32") if "bias" in prepared else logits
