"""A stack of blocks: each run of equal blocks is one block scanned over stacked weights."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from scalecli import specs
from scalecli.models.compiled import uses_xla
from scalecli.models.dropout import Dropout
from scalecli.models.layers import LAYERS, Context, PositionBias, RMSNorm, SpecLayer
from scalecli.models.scan import scan, unstack

# Places of dropout within a stack; the repeats follow.
_EMBEDDED, _FINAL, _REPEATS = 0, 1, 2
# Places of dropout within a sublayer.
_INSIDE, _OUTPUT = 0, 1


class Residual(keras.layers.Layer):
    """x + Dropout(layer(Norm(x))), the form of every sublayer (T5, section 2.1)."""

    def __init__(self, spec: specs.Sublayer, layers: int, **options: Any) -> None:
        super().__init__(name=spec.name, autocast=False, **options)
        self.norm = RMSNorm(spec.norm, layers, name="norm", dtype=self.dtype_policy)
        self.layer: SpecLayer = LAYERS[type(spec.layer)](spec.layer, layers, name=spec.name, dtype=self.dtype_policy)

    def weights_for_compute(self) -> dict[str, Any]:
        """The weights of the norm and of the layer, all layers' copies."""
        return {"norm": self.norm.weights_for_compute(), "layer": self.layer.weights_for_compute()}

    def call(self, weights: Any, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        output = self.layer(
            weights["layer"], self.norm(weights["norm"], x), context=context, dropout=dropout.at(_INSIDE)
        )
        return x + dropout.at(_OUTPUT)(output)

    def step(self, weights: Any, x: Any, constants: Any, state: Any, context: Context) -> tuple[Any, Any]:
        """One token, x [batch, 1, d_model]; returns output and state."""
        normed = self.norm(weights["norm"], x)
        output, state = self.layer.step(weights["layer"], normed, constants, state, context)
        return x + output, state


class Repeat(keras.layers.Layer):
    """A block, scanned over the stacked weights of its copies."""

    def __init__(self, spec: specs.Repeat, **options: Any) -> None:
        super().__init__(autocast=False, **options)
        self.spec = spec
        self.sublayers = [Residual(sublayer, spec.times, dtype=self.dtype_policy) for sublayer in spec.block.sublayers]
        self.built = True

    def weights_for_compute(self) -> list[Any]:
        """Per sublayer, its weights [layers, ...]."""
        return [sublayer.weights_for_compute() for sublayer in self.sublayers]

    def call(self, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] through all copies of the block."""

        def body(index: Any, x: Any, weights: Any, state: Any) -> tuple[Any, Any]:
            here = dropout.at(index)
            for place, (sublayer, layer_weights) in enumerate(zip(self.sublayers, weights, strict=True)):
                x = sublayer(layer_weights, x, context=context, dropout=here.at(place))
            return x, state

        return scan(body, x, self.weights_for_compute(), (), self.spec.times)[0]

    def start_decoding(self, context: Context) -> Any:
        """What `step` needs at every token: per sublayer, the weights and the layer's constants [layers, ...]."""
        weights = self.weights_for_compute()
        constants = [
            ops.vectorized_map(lambda one, layer=sublayer.layer: layer.constants(one, context), of_sublayer["layer"])
            for sublayer, of_sublayer in zip(self.sublayers, weights, strict=True)
        ]
        return self._for_steps((weights, constants))

    def initial_state(self, batch: int, length: int) -> Any:
        """Per sublayer, the empty state of all its copies [layers, ...]."""
        each = [sublayer.layer.initial_state(batch, length, self.compute_dtype) for sublayer in self.sublayers]
        layers = self.spec.times
        stacked = [{name: ops.zeros((layers, *one.shape), one.dtype) for name, one in state.items()} for state in each]
        return self._for_steps(stacked)

    def step(self, x: Any, layers: Any, state: Any, context: Context) -> tuple[Any, Any]:
        """One token through all copies; returns output [batch, 1, d_model] and state."""

        def body(index: Any, x: Any, slices: Any, state: Any) -> tuple[Any, Any]:
            weights, constants = slices
            new_state = []
            for number, sublayer in enumerate(self.sublayers):
                x, after = sublayer.step(weights[number], x, constants[number], state[number], context)
                new_state.append(after)
            return x, new_state

        return scan(body, x, layers, state, self.spec.times)

    def _for_steps(self, stacked: Any) -> Any:
        return stacked if uses_xla() else unstack(stacked, self.spec.times)


class Stack(keras.layers.Layer):
    """An encoder or decoder: repeats of blocks that share one position bias, then a norm and dropout."""

    def __init__(self, spec: specs.Stack, **options: Any) -> None:
        super().__init__(autocast=False, **options)
        self.position_bias = PositionBias(spec.position_bias, name="position_bias", dtype=self.dtype_policy)
        self.repeats = [
            Repeat(repeat, name=str(number), dtype=self.dtype_policy) for number, repeat in enumerate(spec.repeats)
        ]
        self.final_norm = RMSNorm(spec.final_norm, name="final_norm", dtype=self.dtype_policy)
        self.built = True

    def call(self, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        x = dropout.at(_EMBEDDED)(x)
        for number, repeat in enumerate(self.repeats):
            x = repeat(x, context=context, dropout=dropout.at(_REPEATS + number))
        return dropout.at(_FINAL)(self.final_norm(self.final_norm.weights_for_compute(), x))

    def step(self, x: Any, layers: list[Any], state: list[Any], context: Context) -> tuple[Any, list[Any]]:
        """One token through the stack; `layers` (see `Repeat.start_decoding`) and `state` have an entry a repeat."""
        new_state = []
        for number, repeat in enumerate(self.repeats):
            x, after = repeat.step(x, layers[number], state[number], context)
            new_state.append(after)
        return self.final_norm(self.final_norm.weights_for_compute(), x), new_state
