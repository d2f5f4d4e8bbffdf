"""What the models of all specs have in common."""

from __future__ import annotations

from typing import Any

import keras

from scalecli import specs
from scalecli.models.layers import SpecLayer


class SpecModel(keras.Model):
    """A model built from a spec, whose layers own the weights that the spec lists.

    Weights are float32; `precision` is the dtype of matrix products and activations, float32 or bfloat16.
    """

    def __init__(self, spec: specs.ModelSpec, name: str, precision: str, dropout_rate: float) -> None:
        policy = keras.dtype_policies.DTypePolicy("mixed_bfloat16" if precision == "bfloat16" else "float32")
        super().__init__(name=name, dtype=policy, autocast=False)
        self.spec = spec
        self.dropout_rate = dropout_rate

    def parts(self) -> dict[str, SpecLayer]:
        """Every layer that owns weights, by the prefix of its paths in `ModelSpec.weights()`."""
        raise NotImplementedError

    def weights_by_path(self) -> dict[str, Any]:
        """Every variable by the path that `ModelSpec.weights()` gives it."""
        parts = self.parts().items()
        variables = {f"{prefix}{name}": owned for prefix, layer in parts for name, owned in layer.owned.items()}
        return {path: variables[path] for path in self.spec.weights()}
