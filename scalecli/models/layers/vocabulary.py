"""The token embedding and the output heads. keras.ops only."""

from __future__ import annotations

from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.compiled import materialized
from scalecli.models.layers.base import SpecLayer, Weights
from scalecli.models.linear_algebra import dot_products


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
        """`kernel` [d_model, vocabulary] or, tied, `table` [vocabulary, d_model]; `bias` [vocabulary] if there is one.

        A factorized `table` is [vocabulary, embedding_size], with a `projection` [embedding_size, d_model].
        """
        own = self.weights_for_compute()
        return {**embedding, **own} if self.spec.tied else own

    def call(self, prepared: Weights, hidden: Any) -> Any:
        """[batch, length, d_model] -> [batch, length, vocabulary] in float32."""
        if self.spec.scaled:
            hidden = hidden * self.spec.d_model**-0.5
        if "projection" in prepared:
            hidden = dot_products(hidden, prepared["projection"])
        tied = "table" in prepared
        logits = dot_products(hidden, prepared["table"]) if tied else ops.matmul(hidden, prepared["kernel"])
        logits = ops.cast(logits, "float32")
        return logits + ops.cast(prepared["bias"], "float32") if "bias" in prepared else logits
