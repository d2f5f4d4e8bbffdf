"""Convolutions over positions: those of LConv and DConv, and those of the Evolved Transformer.

Their inputs are zero at padding. In a decoder a convolution sees no later position.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from scalecli.specs.base import Composite, LayerNorm, LayerSpec, Weight, bias, dense, joined


@dataclass(frozen=True)
class GatedLinearUnit(LayerSpec):
    """(x W + b) * sigmoid(x V + c), from d_model to d_model (Dauphin et al. 2017)."""

    d_model: int

    def weights(self) -> dict[str, Weight]:
        """`linear` and `gate` [d_model, d_model], each with a bias [d_model]."""
        matrix, vector = dense(self.d_model, self.d_model), bias(self.d_model)
        return {"linear": matrix, "linear_bias": vector, "gate": matrix, "gate_bias": vector}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """Two matrices and a product."""
        return Counter({"convolutions": 2 * queries * self.d_model**2, "elementwise": queries * self.d_model})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """Both factors, one of them before its sigmoid as well, and the product."""
        return Counter({"compute": 4 * queries * self.d_model})


@dataclass(frozen=True)
class LocalConvolution(LayerSpec):
    """Lightweight or dynamic convolution instead of self-attention (Wu et al. 2019, sections 3 and 4).

    Gated linear unit, depthwise convolution whose `taps` weights are a softmax over the kernel, a dense layer, and the
    output projection. Each channel has taps of its own: learned, or with `dynamic` predicted from the input at each
    position. Centered, or with `causal` over the position and those before it.
    """

    d_model: int
    taps: int
    causal: bool = False
    dynamic: bool = False
    packing_refused: ClassVar[str | None] = "convolutions reach over the border between examples"

    def weights(self) -> dict[str, Weight]:
        """The unit's weights as `gated/...`; `taps` [taps, d_model] or, predicted, [taps, d_model, d_model]; the rest.

        `taps_bias` [taps, d_model] (predicted ones only), `depthwise_bias` [d_model], `pointwise` and `output`
        [d_model, d_model] with biases.
        """
        width = self.d_model
        if self.dynamic:
            taps = {"taps": Weight((self.taps, width, width), width**-0.5), "taps_bias": Weight((self.taps, width))}
        else:
            taps = {"taps": Weight((self.taps, width), 1.0)}
        return {
            **joined({"gated": GatedLinearUnit(width)}),
            **taps,
            "depthwise_bias": bias(width),
            "pointwise": dense(width, width),
            "pointwise_bias": bias(width),
            "output": dense(width, width),
            "output_bias": bias(width),
        }

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """The dense layers, one for each predicted tap among them; the taps' products are element by element."""
        matrices = 2 + (self.taps if self.dynamic else 0)
        cost = GatedLinearUnit(self.d_model).multiply_adds(queries, memory)
        cost["convolutions"] += matrices * queries * self.d_model**2
        cost["elementwise"] += self.taps * queries * self.d_model
        return cost

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The unit's, the inputs of both dense layers, and the taps where they are predicted."""
        cost = GatedLinearUnit(self.d_model).activations(queries, memory)
        cost["compute"] += (2 + (self.taps if self.dynamic else 0)) * queries * self.d_model
        cost["float32"] += (self.taps if self.dynamic else 0) * queries * self.d_model
        return cost


@dataclass(frozen=True)
class Convolution(LayerSpec):
    """A convolution over `taps` positions without bias; one tap is a dense layer."""

    inputs: int
    outputs: int
    taps: int

    def weights(self) -> dict[str, Weight]:
        """`kernel` [taps, inputs, outputs]."""
        return {"kernel": Weight((self.taps, self.inputs, self.outputs), (self.taps * self.inputs) ** -0.5)}

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """A matrix a tap. The papers' counter leaves out what is more than a dense layer."""
        component = "convolutions" if self.taps == 1 else "wide convolutions"
        return Counter({component: queries * self.taps * self.inputs * self.outputs})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The output before and after its activation."""
        return Counter({"compute": 2 * queries * self.outputs})


@dataclass(frozen=True)
class SeparableConvolution(LayerSpec):
    """A depthwise convolution over `taps` positions, then a dense layer; both with bias."""

    inputs: int
    outputs: int
    taps: int

    def weights(self) -> dict[str, Weight]:
        """`taps` [taps, inputs], `taps_bias` [inputs], `kernel` [inputs, outputs], `bias` [outputs]."""
        return {
            "taps": Weight((self.taps, self.inputs), self.taps**-0.5),
            "taps_bias": bias(self.inputs),
            "kernel": dense(self.inputs, self.outputs),
            "bias": bias(self.outputs),
        }

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """The dense layer; the taps' products are element by element."""
        return Counter(
            {"convolutions": queries * self.inputs * self.outputs, "elementwise": queries * self.taps * self.inputs}
        )

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """The dense layer's input, and its output before and after the activation."""
        return Counter({"compute": queries * (self.inputs + 2 * self.outputs)})


@dataclass(frozen=True)
class ConvolutionBranch(Composite):
    """Two convolutions side by side, ReLU on those of `activated`, summed, normalized and convolved once more.

    The narrower output is padded with zeros to the wider one's width, and the result to d_model (So et al. 2019,
    Figure 3).
    """

    d_model: int
    left: Convolution | SeparableConvolution
    right: Convolution | SeparableConvolution
    output: SeparableConvolution
    activated: tuple[str, ...]
    causal: bool = False
    packing_refused: ClassVar[str | None] = "convolutions reach over the border between examples"

    @property
    def norm(self) -> LayerNorm:
        """The norm between the convolutions."""
        return LayerNorm(self.left.outputs)

    def parts(self) -> dict[str, LayerSpec]:
        """Both convolutions, the norm, and the last convolution."""
        return {"left": self.left, "right": self.right, "inner_norm": self.norm, "output": self.output}
