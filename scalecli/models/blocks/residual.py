"""One step of the residual stream, around any layer. keras.ops only."""

from __future__ import annotations

from typing import Any

import keras

from scalecli import specs
from scalecli.models.blocks.recurrence import TransformGates
from scalecli.models.dropout import Dropout
from scalecli.models.layers import NORMS, Context, RMSNorm, SpecLayer, layer_of

# Numbers of dropout masks within a sublayer.
_INSIDE, _OUTPUT = 0, 1

Reports = dict[str, Any]


class Residual(keras.layers.Layer):
    """x + Dropout(layer(Norm(x))), the form of every sublayer (T5, section 2.1); gates may mix x into the output."""

    def __init__(self, spec: specs.Sublayer, layers: int, tied_to: Residual | None = None, **options: Any) -> None:
        super().__init__(name=spec.name, autocast=False, **options)
        common = {"layers": layers, "dtype": self.dtype_policy}
        with keras.name_scope(self.name):
            self.norm: RMSNorm = NORMS[type(spec.norm)](
                spec.norm, tied_to=tied_to and tied_to.norm, name="norm", **common
            )
            self.layer: SpecLayer = layer_of(spec.layer)(
                spec.layer, tied_to=tied_to and tied_to.layer, name=spec.name, **common
            )
            self.gates: TransformGates | None = None
            if spec.gates is not None:
                self.gates = TransformGates(spec.gates, tied_to=tied_to and tied_to.gates, name="gates", **common)

    def parts(self) -> dict[str, SpecLayer]:
        """What has weights here, by the prefixes of `specs.Sublayer.parts`."""
        gates = {} if self.gates is None else {"gates/": self.gates}
        return {"norm/": self.norm, "": self.layer, **gates}

    @property
    def reported(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each report of `run`."""
        return {f"{self.name}/{name}": shape for name, shape in self.layer.reported.items()}

    def weights_for_compute(self) -> dict[str, Any]:
        """The weights of the parts, all layers' copies."""
        return {prefix: part.weights_for_compute() for prefix, part in self.parts().items()}

    def run(self, weights: Any, x: Any, context: Context, dropout: Dropout) -> tuple[Any, Reports]:
        """[batch, length, d_model] -> [batch, length, d_model], and what the layer reports as `SUBLAYER/NAME`."""
        normed = self.norm(weights["norm/"], x, context.real)
        output, report = self.layer.run(weights[""], normed, context, dropout.at(_INSIDE))
        named = {f"{self.name}/{name}": value for name, value in report.items()}
        return x + dropout.at(_OUTPUT)(self._gated(weights, x, output)), named

    def step(self, weights: Any, x: Any, constants: Any, state: Any, context: Context) -> tuple[Any, Any]:
        """One token, x [batch, 1, d_model]; returns output and state."""
        normed = self.norm(weights["norm/"], x)
        output, state = self.layer.step(weights[""], normed, constants, state, context)
        return x + self._gated(weights, x, output), state

    def _gated(self, weights: Any, x: Any, output: Any) -> Any:
        return output if self.gates is None else self.gates(weights["gates/"], x, output, norm=self.norm)
