"""What every layer offers, what the layers of a stack share, and the norms. keras.ops only.

A layer owns the weights that its spec lists, stacked over the layers of a scan (a leading axis [layers]), and
computes with the slice of one layer that it is handed:

    call(weights, x, context, dropout)           whole sequences, x [batch, length, d_model]
    constants(weights, context)                  what decoding computes once for the encoder's output
    initial_state(batch, length, dtype)          what decoding keeps from token to token, for `length` tokens
    step(weights, x, constants, state, context)  one token, x [batch, 1, d_model]; returns output and state

A layer with something to report (an auxiliary loss, what overflowed) lists it in `reported` and returns it from `run`.
Weights and activations come in the compute dtype; norms and softmax are float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

import keras
from keras import ops

from scalecli import specs
from scalecli.errors import ConfigurationError, reason_of
from scalecli.models.dropout import Dropout
from scalecli.models.linear_algebra import mean_square, projected, sum_of_columns, sum_of_rows

Weights = dict[str, Any]
_EPSILON = 1e-6
MASKED = -1e9  # added to the scores of positions that must not be seen


class Context(NamedTuple):
    """What a stack's layers share; a nest of tensors, as scans take it.

    `position_biases` [1, heads, queries, keys] by number of heads, `self_mask` and `cross_mask` [batch, 1, queries,
    keys] are float32 and added to attention scores; `masked_biases` [batch, heads, queries, keys], the sums of biases
    and self-mask, are there where nothing fuses the two additions. `real` and `tokens` [batch, length, 1] are float32:
    `real` is 1 where a position is no padding, `tokens` where the token that the stack reads there is none (the first
    one that a decoder reads is), which is what convolutions see. `memory` [batch, memory, d_model] is the encoder's
    output, which only a decoder has. In a decoding step `position` (int32 scalar) is that of its one token, `real` is
    None, and the position biases have the mask in them.

    Attention that is fused or blockwise takes the position biases as `bias_tiles` by number of heads, and `segments`
    [batch, length] and `memory_segments` [batch, memory] (int32) in the place of the masks. A mask that is None says
    that it is blockwise.
    """

    position_biases: Mapping[int, Any] = {}
    masked_biases: Mapping[int, Any] = {}
    self_mask: Any = None
    real: Any = None
    tokens: Any = None
    memory: Any = None
    cross_mask: Any = None
    position: Any = None
    bias_tiles: Mapping[int, Any] = {}
    segments: Any = None
    memory_segments: Any = None

    @property
    def causal(self) -> bool:
        """Whether this is a decoder's, in which no position sees a later one."""
        return self.memory is not None


class SpecLayer(keras.layers.Layer):
    """A layer built from its spec: owns `spec.weights()`, each with a leading axis when `layers` is not 0.

    With `tied_to`, a layer of the same kind, it uses that layer's weights and has none of its own. One that is
    `positionwise` looks at each token alone; in a decoder any other needs a `step` of its own.
    """

    positionwise: ClassVar[bool] = False

    def __init__(
        self, spec: specs.LayerSpec, layers: int = 0, tied_to: SpecLayer | None = None, **options: Any
    ) -> None:
        super().__init__(autocast=False, **options)
        self.spec = spec
        self.owned: dict[str, Any] = self._new_weights(layers) if tied_to is None else tied_to.owned
        self.built = True

    def _new_weights(self, layers: int) -> dict[str, Any]:
        owned = {}
        for name, weight in self.spec.weights().items():
            owned[name] = self.add_weight(
                name=name.replace("/", "_"),
                shape=((layers,) if layers else ()) + weight.shape,
                initializer=keras.initializers.RandomNormal(weight.mean, weight.stddev)
                if weight.stddev
                else keras.initializers.Constant(weight.mean),
                autocast=False,
            )
            # Adafactor treats each layer's slice as a weight of its own.
            owned[name].stacked = layers > 0
        return owned

    @property
    def reported(self) -> dict[str, tuple[int, ...]]:
        """Name and shape of each float32 tensor that `run` reports; `auxiliary_loss` is added to the loss."""
        return {}

    def weights_for_compute(self) -> Weights:
        """The weights as tensors of the compute dtype."""
        return {name: ops.cast(variable, self.compute_dtype) for name, variable in self.owned.items()}

    def run(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> tuple[Any, Weights]:
        """`call`, and what the layer reports."""
        return self(weights, x, context=context, dropout=dropout), {}

    def constants(self, weights: Weights, context: Context) -> Weights:
        """Nothing, unless the layer looks at the encoder's output."""
        return {}

    def initial_state(self, batch: int, length: int, dtype: str) -> Weights:
        """Nothing, unless the layer looks at earlier tokens."""
        return {}

    def step(
        self, weights: Weights, x: Any, constants: Weights, state: Weights, context: Context
    ) -> tuple[Any, Weights]:
        """Each token by itself, unless the layer looks at other ones."""
        return self(weights, x, context=context, dropout=Dropout(0.0)), state

    def check_decodes(self) -> None:
        """Raises ConfigurationError if the layer cannot decode token by token."""
        if not self.positionwise and type(self).step is SpecLayer.step:
            raise ConfigurationError(
                f"{type(self).__name__}, a layer of the decoder, has no step() to decode with; "
                "one that looks at no other token says positionwise = True"
            )


class RMSNorm(SpecLayer):
    """x / sqrt(mean(x^2) + 1e-6) * scale over the last axis, in float32 (T5, section 2.1)."""

    def weights_for_compute(self) -> Weights:
        """The weights stay float32."""
        # As tensors: `normalized`, run eagerly, can't be handed variables.
        return {name: ops.cast(variable, "float32") for name, variable in self.owned.items()}

    def call(self, weights: Weights, x: Any, real: Any = None) -> Any:
        """[batch, length, d_model] -> the same, zero where `real` [batch, length, 1] is."""
        return normalized(x, weights["scale"], real=real)


class LayerNorm(RMSNorm):
    """(x - mean) / sqrt(variance + epsilon) * scale + bias over the last axis, in float32 (Ba et al. 2016)."""

    spec: specs.LayerNorm

    def call(self, weights: Weights, x: Any, real: Any = None) -> Any:
        """[batch, length, d_model] -> the same, zero where `real` [batch, length, 1] is."""
        return normalized(x, weights["scale"], weights["bias"], real=real, epsilon=self.spec.epsilon)


def normalized(x: Any, scale: Any, *bias: Any, real: Any = None, epsilon: float = _EPSILON) -> Any:
    """`x` [batch, length, width] over its root mean square, times `scale` [width]; with a bias, less its mean first.

    Computed in float32, and zero where `real` [batch, length, 1] is. The backward pass keeps of x no other form.
    """

    @ops.custom_gradient
    def norm(x: Any, scale: Any, real: Any, *bias: Any) -> Any:
        wide = ops.cast(x, "float32")
        mean = ops.mean(wide, axis=-1, keepdims=True) if bias else 0.0
        centered = wide - mean if bias else wide
        factor = ops.rsqrt(mean_square(centered, (-1,)) + epsilon)
        normed = centered * (factor * real) * scale
        normed = normed + bias[0] * real if bias else normed

        def gradient(upstream: Any) -> tuple[Any, ...]:
            wide = ops.cast(x, "float32")
            centered = wide - mean if bias else wide
            upstream, per_row, width = ops.cast(upstream, "float32"), factor * real, x.shape[-1]
            product = upstream * centered
            along = sum_of_columns(product, scale) * (per_row * ops.square(factor) / width)
            d_x = upstream * scale * per_row - centered * along
            if bias:
                d_x = d_x - sum_of_columns(upstream, scale) * (per_row / width)
            d_bias = [ops.sum(upstream * real, axis=(0, 1)) for _ in bias]
            return ops.cast(d_x, x.dtype), sum_of_rows(product, per_row), None, *d_bias

        return ops.cast(normed, x.dtype), gradient

    return norm(x, scale, ops.ones((1, 1, 1)) if real is None else real, *bias)


def projection(weights: Weights, name: str, x: Any) -> Any:
    """The product x W for the matrix W of that name, plus its bias `NAME_bias` where there is one."""
    product = projected(x, weights[name])
    return product + weights[f"{name}_bias"] if f"{name}_bias" in weights else product


NORMS: dict[type, type[RMSNorm]] = {specs.Norm: RMSNorm, specs.LayerNorm: LayerNorm}
# The layer of each layer spec. The package fills it, so that a layer of other layers can build them.
LAYERS: dict[type, type[SpecLayer]] = {}


def layer_of(spec: specs.LayerSpec) -> type[SpecLayer]:
    """The class of a spec's Keras layer: one of ours, or the one that a user's spec names.

    Raises:
        ConfigurationError: a user's spec names none.
    """
    kind = type(spec)
    if kind not in LAYERS:
        LAYERS[kind] = _own_layer(kind)
    return LAYERS[kind]


def _own_layer(kind: type[specs.LayerSpec]) -> type[SpecLayer]:
    try:
        layer = kind.keras_layer()
    except Exception as error:
        raise ConfigurationError(f"the Keras layer of {kind.__name__}: {reason_of(error)}") from error
    if not (isinstance(layer, type) and issubclass(layer, SpecLayer)):
        raise ConfigurationError(f"the Keras layer of {kind.__name__} is {layer!r}; a SpecLayer is accepted")
    return layer
