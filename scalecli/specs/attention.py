"""Attention: softmax, linear, and several branches at once; and the relative position bias."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from scalecli.specs.base import Composite, LayerSpec, Weight, biases_of


@dataclass(frozen=True)
class Attention(LayerSpec):
    """Multi-head dot-product attention (Vaswani et al. 2017, section 3.2), as T5 has it unless the last two are on.

    `biases`: each projection has one. `scaled`: queries are multiplied by 1/sqrt(d_kv), which T5 leaves out.

    Self-attention, causal or not, unless `cross`, which attends to the encoder's output. With `shared_heads` one key
    and one value head serve all query heads; with `tied_key_values` keys and values are the same projection (Scale
    Efficiently, Table 2: SH and SKV).
    """

    d_model: int
    heads: int
    d_kv: int
    causal: bool = False
    cross: bool = False
    shared_heads: bool = False
    tied_key_values: bool = False
    biases: bool = False
    scaled: bool = False

    @property
    def inner(self) -> int:
        """Width of all query heads together."""
        return self.heads * self.d_kv

    @property
    def key_heads(self) -> int:
        """Heads of the keys, and of the values."""
        return 1 if self.shared_heads else self.heads

    def weights(self) -> dict[str, Weight]:
        """`query` [d_model, inner], `key` and `value` [d_model, key_heads * d_kv], `output` [inner, d_model].

        Tied keys and values have `key_value` instead of the two; biases are `query_bias` and so on. Unscaled, the
        query's initial scale makes up for the missing 1/sqrt(d_kv) of the scores.
        """
        projection = Weight((self.d_model, self.key_heads * self.d_kv), self.d_model**-0.5)
        factor = 1.0 if self.scaled else self.d_kv**-0.5
        matrices = {
            "query": Weight((self.d_model, self.inner), factor * self.d_model**-0.5),
            **dict.fromkeys(("key_value",) if self.tied_key_values else ("key", "value"), projection),
            "output": Weight((self.inner, self.d_model), self.inner**-0.5),
        }
        return {**matrices, **(biases_of(matrices) if self.biases else {})}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """The projections, the scores and the weighted sum of the values; and the queries' scaling."""
        keys = memory if self.cross else queries
        projected = 2 * queries * self.inner + (1 if self.tied_key_values else 2) * keys * self.key_heads * self.d_kv
        cost = {"attention projections": projected * self.d_model, "attention scores": 2 * queries * keys * self.inner}
        return Counter({**cost, **({"products": queries * self.inner} if self.scaled else {})})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """Queries, keys, values and what they are mixed to; the softmax."""
        keys = memory if self.cross else queries
        key_values = (1 if self.tied_key_values else 2) * keys * self.key_heads * self.d_kv
        return Counter({"compute": 2 * queries * self.inner + key_values + self.heads * queries * keys})


@dataclass(frozen=True)
class LinearAttention(Attention):
    """Attention with the kernel ReLU(q) + epsilon, ReLU(k) + epsilon instead of softmax (Performer, section 2.2).

    Linear in the length: the encoder sums keys x values once, the causal decoder keeps running sums over chunks of
    `chunk` positions. No position bias.
    """

    epsilon: float = 1e-3
    chunk: int = 64
    packing_refused: ClassVar[str | None] = "linear attention sums over all examples of a row"

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Projections, the sums of keys x values, and their products with the queries; in chunks where it is causal."""
        scores = 2 * queries * self.inner * self.d_kv
        if self.causal:
            scores += 2 * queries * min(self.chunk, queries) * self.inner
        cost = super().multiply_adds(queries, memory)
        return Counter({**cost, "attention scores": scores, "products": 2 * queries * self.inner})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """Features of queries and keys before and after the kernel, values, sums, and what they are mixed to."""
        return Counter({"compute": 6 * queries * self.inner, "float32": 2 * queries * self.heads})


@dataclass(frozen=True)
class Parallel(Composite):
    """Branches that read the same input and whose outputs are added up."""

    branches: tuple[tuple[str, LayerSpec], ...]

    def parts(self) -> dict[str, LayerSpec]:
        """The branches."""
        return dict(self.branches)


@dataclass(frozen=True)
class PositionBias(LayerSpec):
    """Learned bias on the attention scores by bucketed distance (T5, section 2.1); one table for a whole stack."""

    heads: int
    bidirectional: bool
    stddev: float
    buckets: int = 32
    max_distance: int = 128

    def weights(self) -> dict[str, Weight]:
        """`table` [heads, buckets]. It costs nothing: it is looked up once for all sequences of a batch."""
        return {"table": Weight((self.heads, self.buckets), self.stddev)}
