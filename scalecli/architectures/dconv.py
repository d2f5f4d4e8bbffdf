"""Dynamic convolutions in the place of self-attention (Wu et al. 2019)."""

from __future__ import annotations

from scalecli.architectures.convolutional import convolutional
from scalecli.shape import Shape
from scalecli.specs import EncoderDecoder


def dconv(shape: Shape) -> EncoderDecoder:
    """Both stacks with convolutions whose taps are predicted from each position's input (Wu et al. 2019, section 4).

    Raises:
        ConfigurationError: an even number of taps.
    """
    return convolutional("dconv", shape, dynamic=True)
