"""FNet: the encoder mixes positions by a Fourier transform instead of attention (Lee-Thorp et al. 2021).

scalecli shape small --arch ./fnet.py
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from scalecli.api import (
    Architecture,
    ConfigurationError,
    EncoderDecoder,
    Knob,
    LayerSpec,
    Repeat,
    Shape,
    encoder_block,
    encoder_decoder,
    stack,
)


@dataclass(frozen=True)
class FourierMixing(LayerSpec):
    """The real part of a Fourier transform over positions and channels (section 3.2); it has no weights.

    The transform is that of `positions` positions: shorter inputs are mixed as if padding made them that long.
    """

    d_model: int
    positions: int
    packing_refused: ClassVar[str | None] = "a Fourier transform mixes all positions of a row"

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """By matrices, as the paper does on TPUs: two over the channels, two over the positions."""
        if queries > self.positions:
            raise ConfigurationError(f"fnet mixes {self.positions} positions; {queries} take more --positions")
        return Counter({"token mixing": 2 * queries * self.d_model * (self.d_model + queries)})

    def activations(self, queries: int, memory: int) -> Counter[str]:
        """Nothing: the backward pass is the same transform."""
        return Counter()

    @classmethod
    def keras_layer(cls) -> type:
        """Imported only when a model is built."""
        import numpy as np
        from keras import ops

        from scalecli.api.layers import SpecLayer

        def waves(size: int, used: int, dtype: str) -> tuple:
            angles = 2 * math.pi / size * (np.outer(np.arange(used), np.arange(used)) % size)
            return tuple(ops.cast(wave(angles).astype("float32"), dtype) for wave in (np.cos, np.sin))

        class Fourier(SpecLayer):
            """x [batch, length, d_model], zero at padding -> the same shape, scaled to keep the variance."""

            def call(self, weights, x, context, dropout):
                length, width = x.shape[1:]
                cosines, sines = waves(width, width, x.dtype)
                across, down = waves(self.spec.positions, length, x.dtype)
                mixed = ops.matmul(across, ops.matmul(x, cosines)) - ops.matmul(down, ops.matmul(x, sines))
                return mixed / math.sqrt(self.spec.positions * width)

        return Fourier


def build(shape: Shape) -> EncoderDecoder:
    """Fourier mixing in the encoder; the decoder is the Transformer's."""
    encoder = encoder_block(shape, mixing=FourierMixing(shape.d_model, shape.positions))
    stacked = stack(shape, Repeat(encoder, shape.encoder_layers), bidirectional=True, bias_heads=())
    return encoder_decoder("fnet", shape, encoder=stacked)


architecture = Architecture(
    name="fnet",
    build=build,
    knobs=(Knob("positions", "np", "--positions", "Longest input, in tokens.", default=512),),
)
