"""FNet: the encoder mixes positions by a Fourier transform instead of attention (Lee-Thorp et al. 2021)."""

import math
from collections import Counter
from dataclasses import dataclass
from typing import ClassVar

from scalecli import api


@dataclass(frozen=True)
class FourierMixing(api.LayerSpec):
    """The real part of a Fourier transform over positions and channels (section 3.2). It has no weights.

    The transform is that of `positions` positions: shorter inputs are mixed as if padding made them that long.
    """

    d_model: int
    positions: int
    packing_refused: ClassVar[str | None] = "a Fourier transform mixes all positions of a row"

    def multiply_adds(self, queries: int, memory: int) -> Counter[str]:
        """By matrices, which the paper recommends on TPUs: two over the channels, two over the positions."""
        if queries > self.positions:
            raise api.ConfigurationError(f"fnet mixes {self.positions} positions; {queries} take more --positions")
        return Counter({"token mixing": 2 * queries * self.d_model * (self.d_model + queries)})

    # Of the forward pass the backward pass needs nothing, so there is no activations().

    @classmethod
    def keras_layer(cls) -> type:
        """Imports Keras only when a model is built."""
        import numpy as np
        from keras import ops

        from scalecli.api.layers import SpecLayer

        def waves(size, used, dtype):
            angles = 2 * math.pi / size * (np.outer(np.arange(used), np.arange(used)) % size)
            return (ops.cast(wave(angles).astype("float32"), dtype) for wave in (np.cos, np.sin))

        class Fourier(SpecLayer):
            def call(self, weights, x, context, dropout):
                """X [batch, length, d_model], zero at padding -> the same shape; divided to keep the variance."""
                length, width = x.shape[1:]
                cosines, sines = waves(width, width, x.dtype)
                across, down = waves(self.spec.positions, length, x.dtype)
                mixed = ops.matmul(across, ops.matmul(x, cosines)) - ops.matmul(down, ops.matmul(x, sines))
                return mixed / math.sqrt(self.spec.positions * width)

        return Fourier


def build(shape: api.Shape) -> api.EncoderDecoder:
    """Fourier mixing in the encoder; the decoder is the Transformer's."""
    block = api.encoder_block(shape, mixing=FourierMixing(shape.d_model, shape.positions))
    encoder = api.stack(shape, api.Repeat(block, shape.encoder_layers), bidirectional=True, bias_heads=())
    return api.encoder_decoder("fnet", shape, encoder=encoder)


# A knob that mixer has, too, so it looks the same.
positions = api.Knob("positions", "np", "--positions", "Longest input, in tokens.", default=512)
architecture = api.Architecture(name="fnet", build=build, knobs=(positions,))
