"""Convolutions over positions: LConv's and DConv's, and the Evolved Transformer's. keras.ops only.

A convolution is handed its inputs with those around them that its taps reach: zeros beyond the ends of a sequence, or,
when tokens are decoded one by one, a window of the earlier inputs. So each layer is written once for both.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from keras import ops

from scalecli import specs
from scalecli.models.compiled import uses_xla
from scalecli.models.dropout import Dropout
from scalecli.models.layers.base import NORMS, Context, SpecLayer, Weights
from scalecli.models.layers.parallel import weights_of

# (name of a convolution, its inputs [batch, length, width]) -> [batch, length + taps - 1, width]
Surround = Callable[[str, Any], Any]


def gated_linear_unit(weights: Weights, x: Any) -> Any:
    """(x W + b) * sigmoid(x V + c): [batch, length, d_model] -> the same (Dauphin et al. 2017, equation 1)."""
    gate = ops.sigmoid(ops.matmul(x, weights["gate"]) + weights["gate_bias"])
    return (ops.matmul(x, weights["linear"]) + weights["linear_bias"]) * gate


def depthwise(around: Any, taps: Any) -> Any:
    """Each channel by itself: [batch, length + taps - 1, width], taps [taps, width] -> [batch, length, width].

    As a sum of shifted products where XLA fuses them, else as TensorFlow's convolution. On two cores (8 x 512 x 512, 7
    taps, float32, with gradients) the sum took 27 ms under XLA and the convolution 212 ms; TensorFlow's own kernels
    took 84 ms and 7 ms.
    """
    if not uses_xla():
        return ops.depthwise_conv(around, taps[:, :, None], padding="valid", data_format="channels_last")
    shifts = _shifts(around, taps.shape[0])
    return sum(shifted * tap for shifted, tap in zip(shifts, ops.unstack(taps), strict=True))


def dynamic_depthwise(around: Any, logits: list[Any]) -> Any:
    """The same with taps for each position, a softmax over `logits`, one [batch, length, width] a tap; float32 inside.

    The taps stay apart rather than in one tensor, so that all of this is element by element.
    """
    logits = [ops.cast(tap, "float32") for tap in logits]
    largest = functools.reduce(ops.maximum, logits)
    shares = [ops.exp(tap - ops.stop_gradient(largest)) for tap in logits]  # the largest cancels out
    wide = ops.cast(around, "float32")
    mixed = sum(shifted * share for shifted, share in zip(_shifts(wide, len(shares)), shares, strict=True))
    return ops.cast(mixed / sum(shares), around.dtype)


def convolution(weights: Weights, around: Any) -> Any:
    """[batch, length + taps - 1, inputs] -> [batch, length, outputs]."""
    return ops.conv(around, weights["kernel"], padding="valid", data_format="channels_last")


def separable_convolution(weights: Weights, around: Any) -> Any:
    """Depthwise, then dense: [batch, length + taps - 1, inputs] -> [batch, length, outputs]."""
    mixed = depthwise(around, weights["taps"]) + weights["taps_bias"]
    return ops.matmul(mixed, weights["kernel"]) + weights["bias"]


def _shifts(around: Any, taps: int) -> list[Any]:
    """What each tap sees of [batch, length + taps - 1, width], from the earliest on: [batch, length, width]."""
    length = around.shape[1] - taps + 1
    return [around[:, tap : tap + length] for tap in range(taps)]


class GatedLinearUnit(SpecLayer):
    """(x W + b) * sigmoid(x V + c) (Dauphin et al. 2017, equation 1)."""

    spec: specs.GatedLinearUnit
    positionwise = True

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        return gated_linear_unit(weights, x)


class Convolutional(SpecLayer):
    """A layer with convolutions, which subclasses list in `reaches` and use in `convolve`.

    Their inputs are zero where the token is 0, padding or the start of a decoder's sequence.
    """

    spec: specs.LocalConvolution | specs.ConvolutionBranch

    def reaches(self) -> dict[str, tuple[int, int]]:
        """Taps, and width of the inputs, of each convolution by name."""
        raise NotImplementedError

    def convolve(self, weights: Weights, x: Any, dropout: Dropout, surround: Surround) -> Any:
        """[batch, length, d_model] -> the same; `surround` adds to a convolution's inputs those around them."""
        raise NotImplementedError

    def call(self, weights: Weights, x: Any, context: Context, dropout: Dropout) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        reaches = self.reaches()

        def surround(name: str, inputs: Any) -> Any:
            around = reaches[name][0] - 1
            before = around if self.spec.causal else around // 2
            return ops.pad(_present(inputs, context), ((0, 0), (before, around - before), (0, 0)))

        return self.convolve(weights, x, dropout, surround)

    def initial_state(self, batch: int, length: int, dtype: str) -> Weights:
        """Of each convolution the earlier inputs that its taps reach: [batch, taps - 1, width], zero at first."""
        return {name: ops.zeros((batch, taps - 1, width), dtype) for name, (taps, width) in self.reaches().items()}

    def step(
        self, weights: Weights, x: Any, constants: Weights, state: Weights, context: Context
    ) -> tuple[Any, Weights]:
        """One token x [batch, 1, d_model] behind the window of those before it."""
        windows = {}

        def surround(name: str, inputs: Any) -> Any:
            around = ops.concatenate([state[name], _present(inputs, context)], axis=1)
            windows[name] = around[:, 1:]
            return around

        return self.convolve(weights, x, Dropout(0.0), surround), windows


def _present(inputs: Any, context: Context) -> Any:
    """`inputs`, but zero where the token is 0 or where there is padding, of which a decoding step has none."""
    present = context.tokens if context.real is None else context.tokens * context.real
    return inputs * ops.cast(present, inputs.dtype)


class LocalConvolution(Convolutional):
    """Lightweight convolution, or with `dynamic` the dynamic one (Wu et al. 2019, sections 3 and 4, Figure 2).

    Gated linear unit, depthwise convolution whose taps are a softmax over the kernel, dense layer, output projection.
    """

    spec: specs.LocalConvolution

    def reaches(self) -> dict[str, tuple[int, int]]:
        """The depthwise convolution."""
        return {"depthwise": (self.spec.taps, self.spec.d_model)}

    def convolve(self, weights: Weights, x: Any, dropout: Dropout, surround: Surround) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""
        gated = gated_linear_unit(weights_of("gated", weights), x)
        around = surround("depthwise", gated)
        if self.spec.dynamic:
            pairs = zip(ops.unstack(weights["taps"]), ops.unstack(weights["taps_bias"]), strict=True)
            mixed = dynamic_depthwise(around, [ops.matmul(gated, kernel) + bias for kernel, bias in pairs])
        else:
            taps = ops.cast(weights["taps"], "float32")
            # TensorFlow's softmax transposes for the first axis, and XLA can't take the gradient of that in a loop.
            shares = ops.exp(taps - ops.logsumexp(taps, axis=0, keepdims=True))
            mixed = depthwise(around, ops.cast(shares, x.dtype))
        hidden = ops.matmul(mixed + weights["depthwise_bias"], weights["pointwise"]) + weights["pointwise_bias"]
        return ops.matmul(hidden, weights["output"]) + weights["output_bias"]


class ConvolutionBranch(Convolutional):
    """Two convolutions side by side, summed, normalized and convolved once more (So et al. 2019, Figure 3).

    With dropout behind each of the two, as in the Evolved Transformer's code.
    """

    spec: specs.ConvolutionBranch

    def __init__(self, spec: specs.ConvolutionBranch, *arguments: Any, **options: Any) -> None:
        super().__init__(spec, *arguments, **options)
        self.norm = NORMS[type(spec.norm)](spec.norm, tied_to=self, name="inner_norm", dtype=self.dtype_policy)

    def weights_for_compute(self) -> Weights:
        """The norm's stay float32."""
        norm = {name: ops.cast(self.owned[name], "float32") for name in self.owned if name.startswith("inner_norm/")}
        return super().weights_for_compute() | norm

    def reaches(self) -> dict[str, tuple[int, int]]:
        """The two side by side, and the one behind them."""
        convolutions = {"left": self.spec.left, "right": self.spec.right, "output": self.spec.output}
        return {name: (convolution.taps, convolution.inputs) for name, convolution in convolutions.items()}

    def convolve(self, weights: Weights, x: Any, dropout: Dropout, surround: Surround) -> Any:
        """[batch, length, d_model] -> [batch, length, d_model]."""

        def convolved(name: str, inputs: Any) -> Any:
            separable = isinstance(self.spec.parts()[name], specs.SeparableConvolution)
            output = (separable_convolution if separable else convolution)(
                weights_of(name, weights), surround(name, inputs)
            )
            return ops.relu(output) if name in self.spec.activated else output

        left = dropout.at(0)(convolved("left", x))
        right = dropout.at(1)(convolved("right", x))
        normed = self.norm(weights_of("inner_norm", weights), left + _widened(right, left.shape[-1]))
        return _widened(convolved("output", normed), self.spec.d_model)


def _widened(x: Any, width: int) -> Any:
    """[batch, length, narrower] -> [batch, length, width], with zeros."""
    return ops.pad(x, ((0, 0), (0, 0), (0, width - x.shape[-1])))
