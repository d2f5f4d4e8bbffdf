"""Where the vocabulary comes in: the token embedding and the output heads."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from scalecli.specs.base import LayerSpec, Weight, bias, dense


@dataclass(frozen=True)
class Embedding(LayerSpec):
    """Token embedding, shared by encoder and decoder (and by the logits where those are tied).

    With `size` it is factorized: a table of that width, and a projection to d_model (ALBERT, Lan et al. 2020,
    section 3.1).
    """

    vocabulary: int
    d_model: int
    size: int | None = None

    def weights(self) -> dict[str, Weight]:
        """`table` [vocabulary, size or d_model]; when factorized, `projection` [size, d_model]."""
        if self.size is None:
            return {"table": Weight((self.vocabulary, self.d_model), 1.0)}
        return {"table": Weight((self.vocabulary, self.size), 1.0), "projection": dense(self.size, self.d_model)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """The look-ups as one-hot products, which is how the papers count them; and the projection."""
        tokens = queries + memory
        cost = Counter({"embedding": tokens * self.vocabulary * (self.size or self.d_model)})
        if self.size is not None:
            cost["embedding projections"] = tokens * self.size * self.d_model
        return cost


@dataclass(frozen=True)
class Logits(LayerSpec):
    """The output head. `classes` are what a softmax chooses from: the tokens of a vocabulary, or classes of images.

    Tied, it is the embedding scaled by d_model^-0.5 (T5 v1) unless `scaled` is off. A tied head of a factorized
    embedding goes back the way through its projection; `embedding_size` is its width.
    """

    classes: int
    d_model: int
    tied: bool
    scaled: bool
    embedding_size: int | None = None
    biased: bool = False

    def weights(self) -> dict[str, Weight]:
        """`kernel` [d_model, classes] when untied, and `bias` [classes] when biased."""
        kernel = {} if self.tied else {"kernel": dense(self.d_model, self.classes)}
        return {**kernel, **({"bias": bias(self.classes)} if self.biased else {})}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """One product with the matrix of the classes; the loss picks its target by a one-hot product."""
        cost = Counter({"logits": queries * (self.embedding_size or self.d_model) * self.classes})
        cost["products"] = queries * self.classes
        if self.embedding_size is not None:
            cost["embedding projections"] = queries * self.embedding_size * self.d_model
        return cost

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The logits as they come from the product; what the loss makes of them in float32 is fused into its sums."""
        return Counter({"compute": queries * self.classes})


@dataclass(frozen=True)
class MixtureOfSoftmaxes(LayerSpec):
    """Several softmaxes over the tied embedding, mixed by a prior of each position (Yang et al. 2018, equation 5).

    log sum_k prior_k(h) softmax(tanh(h W_k) E^T): its "logits" are log-probabilities.
    """

    classes: int
    d_model: int
    softmaxes: int

    def weights(self) -> dict[str, Weight]:
        """`context` [softmaxes, d_model, d_model] and `prior` [softmaxes, d_model]."""
        return {
            "context": Weight((self.softmaxes, self.d_model, self.d_model), self.d_model**-0.5),
            "prior": Weight((self.softmaxes, self.d_model), self.d_model**-0.5),
        }

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """For each softmax a context, its prior, its product with the embedding, and the mixing."""
        one_softmax = self.d_model**2 + self.d_model + self.d_model * self.classes
        return Counter({"logits": queries * self.softmaxes * one_softmax, "products": queries * self.classes})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """Each softmax's context before and after its tanh, the mixture, and the logits of one softmax at a time."""
        return Counter(
            {
                "compute": queries * (self.classes + 2 * self.softmaxes * self.d_model),
                "float32": 2 * queries * self.classes,
            }
        )
