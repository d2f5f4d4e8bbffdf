"""Feed-forward layers: position-wise, a mixture of experts, and across positions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar, Literal

from scalecli.errors import ConfigurationError
from scalecli.specs.base import LayerSpec, Weight, biases_of, dense

Activation = Literal["relu", "gelu", "erf_gelu"]  # GELU by its tanh approximation, or exactly


@dataclass(frozen=True)
class FeedForward(LayerSpec):
    """Position-wise feed-forward network; gated, it is the GLU variant of T5 v1.1 (Shazeer 2020, equation 6)."""

    d_model: int
    d_ff: int
    activation: Activation = "relu"
    gated: bool = False
    biases: bool = False

    def _matrices(self) -> dict[str, Weight]:
        up = dense(self.d_model, self.d_ff)
        gate = {"gate": up} if self.gated else {}
        return {**gate, "input": up, "output": dense(self.d_ff, self.d_model)}

    def weights(self) -> dict[str, Weight]:
        """`input` (and `gate`, the one that passes the activation) [d_model, d_ff], `output` [d_ff, d_model].

        With biases also `input_bias` and so on.
        """
        return {**self._matrices(), **(biases_of(self._matrices()) if self.biases else {})}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Two matrices, three when gated; GELU has three products, with tanh as with erf."""
        products = (1 if self.gated else 0) + (0 if self.activation == "relu" else 3)
        return Counter(
            {
                "feed-forward": queries * sum(weight.size for weight in self._matrices().values()),
                "products": queries * products * self.d_ff,
            }
        )

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The hidden layer, and where its ReLU is not 0, or what its GELU is of; with a gate the other factor, too."""
        hidden = queries * self.d_ff
        if self.activation == "relu":
            return Counter({"compute": hidden, "bool": hidden})
        return Counter({"compute": (4 if self.gated else 2) * hidden})


@dataclass(frozen=True)
class MixtureOfExperts(LayerSpec):
    """Feed-forward experts, one for each token (Switch Transformer, Fedus et al. 2021, sections 2.1 and 2.2).

    Tokens are routed in groups of about `group` tokens. An expert takes no more than its `capacity` of a group; what
    comes above passes through unchanged, by the residual alone. In training the router's inputs are multiplied by noise
    between 1 - `jitter` and 1 + `jitter`.
    """

    d_model: int
    d_ff: int
    experts: int
    group: int = 1024
    capacity_training: float = 1.25
    capacity_evaluation: float = 2.0
    least_capacity: int = 4
    jitter: float = 0.01

    def capacity(self, group: int, training: bool) -> int:
        """Tokens that each expert takes from a group of `group` tokens."""
        factor = self.capacity_training if training else self.capacity_evaluation
        return max(min(group, int(group * factor / self.experts)), self.least_capacity)

    def weights(self) -> dict[str, Weight]:
        """`router` [d_model, experts], `input` [experts, d_model, d_ff], `output` [experts, d_ff, d_model]."""
        return {
            "router": dense(self.d_model, self.experts),
            "input": Weight((self.experts, self.d_model, self.d_ff), self.d_model**-0.5),
            "output": Weight((self.experts, self.d_ff, self.d_model), self.d_ff**-0.5),
        }

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """The router, and the experts on all places that training's capacity gives them, taken or not.

        The papers also count how tokens get to their experts and back, as one-hot products, and their places in the
        queues of the experts, as a product with a triangular matrix.
        """
        slots = -(-queries * self.experts * self.capacity(self.group, training=True) // self.group)
        return Counter(
            {
                "router": queries * self.d_model * self.experts,
                "feed-forward": 2 * slots * self.d_model * self.d_ff,
                "dispatch": 2 * slots * self.group * self.d_model + queries * self.group * self.experts,
            }
        )

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The experts' inputs, outputs and hidden layers on all their places, and the router's probabilities."""
        slots = -(-queries * self.experts * self.capacity(self.group, training=True) // self.group)
        return Counter({"compute": 2 * slots * (self.d_model + self.d_ff), "float32": 2 * queries * self.experts})


@dataclass(frozen=True)
class TokenMixing(LayerSpec):
    """A feed-forward network across positions, the same for every channel (MLP-Mixer, Tolstikhin et al. 2021, eq. 1).

    Its matrices belong to `positions` positions: shorter sequences use the first of them, longer ones are refused.
    """

    d_model: int
    d_ff: int
    positions: int
    packing_refused: ClassVar[str | None] = "token mixing adds up all positions of a row"

    def weights(self) -> dict[str, Weight]:
        """`input` [positions, d_ff] and `output` [d_ff, positions]."""
        return {"input": dense(self.positions, self.d_ff), "output": dense(self.d_ff, self.positions)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Two matrices for every channel.

        Raises:
            ConfigurationError: there are more queries than positions.
        """
        if queries > self.positions:
            raise ConfigurationError(
                f"mixer has matrices for {self.positions} input positions, and the inputs are {queries} long; "
                f"shorter inputs or --positions {queries} are accepted"
            )
        return Counter({"token mixing": 2 * queries * self.d_ff * self.d_model})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The hidden layer before and after its activation."""
        return Counter({"compute": 2 * self.d_ff * self.d_model})
