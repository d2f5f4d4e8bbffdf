"""Branches that read the same input: the Evolved Transformer's decoder attends in two ways at once. keras.ops only."""

from __future__ import annotations

from typing import Any

from scalecli import specs
from scalecli.models.dropout import Dropout
from scalecli.models.layers.base import Context, SpecLayer, Weights, layer_of


def weights_of(part: str, weights: Weights) -> Weights:
    """The weights of one part of a layer by their own names, out of the layer's by `PART/NAME`."""
    prefix = f"{part}/"
    return {name.removeprefix(prefix): weight for name, weight in weights.items() if name.startswith(prefix)}


class Parallel(SpecLayer):
    """The sum of its branches' outputs for the same input (So et al. 2019, Figure 3: the decoder's first layer).

    The weights are this layer's; the branches compute with what they are handed. Nests of constants and states are the
    branches' by name.
    """

    spec: specs.Parallel

    def __init__(self, spec: specs.Parallel, layers: int = 0, tied_to: SpecLayer | None = None, **options: Any) -> None:
        super().__init__(spec, layers, tied_to, **options)
        self.branches: dict[str, SpecLayer] = {
            name: layer_of(branch)(branch, tied_to=self, name=name, dtype=self.dtype_policy)
            for name, branch in spec.branches
        }

    def check_decodes(self) -> None:
        """Raises ConfigurationError if a branch cannot decode token by token."""
        for branch in self.branches.values():
            branch.check_decodes()

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        return sum(
            branch(weights_of(name, weights), x, context=context, dropout=dropout.at(number))
            for number, (name, branch) in enumerate(self.branches.items())
        )

    def constants(self, weights: Weights, context: Context) -> Weights:
        """What decoding computes once for each branch."""
        return {name: branch.constants(weights_of(name, weights), context) for name, branch in self.branches.items()}

    def initial_state(self, batch: int, length: int, dtype: str) -> Weights:
        """What decoding keeps for each branch."""
        return {name: branch.initial_state(batch, length, dtype) for name, branch in self.branches.items()}

    def step(
        self, weights: Weights, x: Any, constants: Weights, state: Weights, context: Context
    ) -> tuple[Any, Weights]:
        """One token x [batch, 1, d_model] through every branch; returns the sum and the branches' states."""
        stepped = {
            name: branch.step(weights_of(name, weights), x, constants[name], state[name], context)
            for name, branch in self.branches.items()
        }
        return sum(output for output, _ in stepped.values()), {name: after for name, (_, after) in stepped.items()}
