"""Layer specs: what an architecture is made of, and what each part costs. Pure Python.

An architecture is a function from a `Shape` to a `ModelSpec`, a tree of the frozen dataclasses below. Everything else
is derived from that tree: `scalecli.models` builds one Keras layer from each spec, with exactly the weights that
`weights()` lists; `scalecli.costs` adds up `multiply_adds()`. A layer spec has

    weights()                       the weights of one copy of the layer, by name
    multiply_adds(queries, memory)  component -> multiply-adds of one sequence in one forward pass; `queries` is the
                                    length of the stack's own sequence, `memory` that of the encoder's output

Lengths are in tokens. Components are the rows of `scalecli flops`.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import Literal, Protocol

VOCABULARY_ROWS = 32128  # 32,000 pieces and 100 sentinels, padded to a multiple of 128

Activation = Literal["relu", "gelu"]


@dataclass(frozen=True)
class Weight:
    """One weight: its shape and how it starts.

    `stddev` is the standard deviation of the normal distribution that it is drawn from; None starts it at one.
    """

    shape: tuple[int, ...]
    stddev: float | None

    @property
    def size(self) -> int:
        """Number of parameters."""
        return math.prod(self.shape)


class LayerSpec(Protocol):
    """What every layer spec offers (see the module's docstring)."""

    def weights(self) -> dict[str, Weight]:
        """The weights of one copy of the layer, by name."""

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Multiply-adds of one sequence in one forward pass, by component."""


@dataclass(frozen=True)
class Norm:
    """RMS layer norm with a scale and no bias (T5, Raffel et al. 2020, section 2.1)."""

    d_model: int

    def weights(self) -> dict[str, Weight]:
        """`scale` [d_model]."""
        return {"scale": Weight((self.d_model,), None)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Squares, the division by the root, the scale, and the padding mask: four products an element."""
        return Counter({"elementwise": 4 * queries * self.d_model})


@dataclass(frozen=True)
class Attention:
    """Multi-head dot-product attention without the 1/sqrt(d_kv) factor (T5, section 2.1).

    Self-attention, causal or not, unless `cross`, which attends to the encoder's output.
    """

    d_model: int
    heads: int
    d_kv: int
    causal: bool = False
    cross: bool = False

    @property
    def inner(self) -> int:
        """Width of all heads together."""
        return self.heads * self.d_kv

    def weights(self) -> dict[str, Weight]:
        """`query`, `key`, `value` [d_model, heads * d_kv] and `output` [heads * d_kv, d_model].

        The query's initial scale makes up for the missing 1/sqrt(d_kv) of the scores.
        """
        return {
            "query": Weight((self.d_model, self.inner), (self.d_model * self.d_kv) ** -0.5),
            "key": Weight((self.d_model, self.inner), self.d_model**-0.5),
            "value": Weight((self.d_model, self.inner), self.d_model**-0.5),
            "output": Weight((self.inner, self.d_model), self.inner**-0.5),
        }

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Four projections, the scores and the weighted sum of the values."""
        keys = memory if self.cross else queries
        return Counter(
            {
                "attention projections": 2 * (queries + keys) * self.d_model * self.inner,
                "attention scores": 2 * queries * keys * self.inner,
            }
        )


@dataclass(frozen=True)
class FeedForward:
    """Position-wise feed-forward network; gated, it is the GLU variant of T5 v1.1 (Shazeer 2020, equation 6)."""

    d_model: int
    d_ff: int
    activation: Activation = "relu"
    gated: bool = False

    def weights(self) -> dict[str, Weight]:
        """`input` (and `gate`, the one that passes the activation) [d_model, d_ff], `output` [d_ff, d_model]."""
        up = Weight((self.d_model, self.d_ff), self.d_model**-0.5)
        gate = {"gate": up} if self.gated else {}
        return {**gate, "input": up, "output": Weight((self.d_ff, self.d_model), self.d_ff**-0.5)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Two matrices, three when gated."""
        cost = Counter({"feed-forward": queries * sum(weight.size for weight in self.weights().values())})
        if self.gated:
            cost["elementwise"] = queries * self.d_ff
        return cost


@dataclass(frozen=True)
class PositionBias:
    """Learned bias on the attention scores by bucketed distance (T5, section 2.1); one table for a whole stack."""

    heads: int
    bidirectional: bool
    stddev: float
    buckets: int = 32
    max_distance: int = 128

    def weights(self) -> dict[str, Weight]:
        """`table` [heads, buckets]."""
        return {"table": Weight((self.heads, self.buckets), self.stddev)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Nothing: the table is looked up once for all sequences of a batch."""
        return Counter()


@dataclass(frozen=True)
class Sublayer:
    """One residual step: x + Dropout(layer(Norm(x)))."""

    name: str
    layer: LayerSpec
    norm: Norm


@dataclass(frozen=True)
class Block:
    """Sublayers in order; the unit that a stack repeats."""

    sublayers: tuple[Sublayer, ...]


@dataclass(frozen=True)
class Repeat:
    """A block `times` over, each time with weights of its own."""

    block: Block
    times: int


@dataclass(frozen=True)
class Stack:
    """An encoder or a decoder: repeated blocks, the position bias that all its self-attention shares, a final norm."""

    repeats: tuple[Repeat, ...]
    position_bias: PositionBias
    final_norm: Norm

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Multiply-adds of one sequence through the whole stack, by component."""
        total = self.final_norm.multiply_adds(queries, memory)
        for repeat in self.repeats:
            for sublayer in repeat.block.sublayers:
                for part in (sublayer.norm, sublayer.layer):
                    for component, count in part.multiply_adds(queries, memory).items():
                        total[component] += repeat.times * count
        return total


@dataclass(frozen=True)
class Embedding:
    """Token embedding, shared by encoder and decoder (and by the logits where those are tied)."""

    vocabulary: int
    d_model: int

    def weights(self) -> dict[str, Weight]:
        """`table` [vocabulary, d_model]."""
        return {"table": Weight((self.vocabulary, self.d_model), 1.0)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """The look-ups as one-hot products, which is how the papers count them."""
        return Counter({"embedding": (queries + memory) * self.vocabulary * self.d_model})


@dataclass(frozen=True)
class Logits:
    """The output head. Tied, it is the embedding scaled by d_model^-0.5 (T5 v1) unless `scaled` is off."""

    vocabulary: int
    d_model: int
    tied: bool
    scaled: bool

    def weights(self) -> dict[str, Weight]:
        """`kernel` [d_model, vocabulary] when untied, else nothing."""
        return {} if self.tied else {"kernel": Weight((self.d_model, self.vocabulary), self.d_model**-0.5)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """One product with the vocabulary's matrix; the loss picks its target by a one-hot product."""
        return Counter({"logits": queries * self.d_model * self.vocabulary, "elementwise": queries * self.vocabulary})


@dataclass(frozen=True)
class ModelSpec:
    """An encoder-decoder: two stacks, the embedding and the output head."""

    architecture: str
    encoder: Stack
    decoder: Stack
    embedding: Embedding
    logits: Logits

    def weights(self) -> dict[str, tuple[int, Weight]]:
        """Every weight by its path: how many layers own one each (stacked on a leading axis), and one layer's weight.

        Paths such as `decoder/0/cross_attention/query`, where 0 counts the stack's repeats. A weight outside the
        repeats has one owner and no leading axis, and is listed with 0.
        """
        found: dict[str, tuple[int, Weight]] = {
            f"embedding/{name}": (0, weight) for name, weight in self.embedding.weights().items()
        }
        for side, stack in (("encoder", self.encoder), ("decoder", self.decoder)):
            for name, weight in stack.position_bias.weights().items():
                found[f"{side}/position_bias/{name}"] = (0, weight)
            for number, repeat in enumerate(stack.repeats):
                for sublayer in repeat.block.sublayers:
                    path = f"{side}/{number}/{sublayer.name}"
                    for name, weight in sublayer.norm.weights().items():
                        found[f"{path}/norm/{name}"] = (repeat.times, weight)
                    for name, weight in sublayer.layer.weights().items():
                        found[f"{path}/{name}"] = (repeat.times, weight)
            for name, weight in stack.final_norm.weights().items():
                found[f"{side}/final_norm/{name}"] = (0, weight)
        for name, weight in self.logits.weights().items():
            found[f"logits/{name}"] = (0, weight)
        return found

    def parameters(self) -> int:
        """Trainable parameters, shared ones counted once."""
        return sum(max(layers, 1) * weight.size for layers, weight in self.weights().values())

    def embedding_parameters(self) -> int:
        """Parameters that grow with the vocabulary: the embedding and an untied output head."""
        parts = (self.embedding, self.logits)
        return sum(weight.size for part in parts for weight in part.weights().values())

    def multiply_adds(self, inputs: int, targets: int) -> Counter[str]:
        """Multiply-adds of one example in one forward pass, by component."""
        total = self.embedding.multiply_adds(targets, inputs) + self.encoder.multiply_adds(inputs, inputs)
        return total + self.decoder.multiply_adds(targets, inputs) + self.logits.multiply_adds(targets, inputs)
