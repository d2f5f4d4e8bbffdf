"""Lightweight convolutions in the place of self-attention (Wu et al. 2019)."""

from __future__ import annotations

from scalecli.architectures.convolutional import convolutional
from scalecli.shape import Shape
from scalecli.specs import EncoderDecoder


def lconv(shape: Shape) -> EncoderDecoder:
    """Both stacks with convolutions whose taps are learned for each channel (Wu et al. 2019, section 3).

    Raises:
        ConfigurationError: an even number of taps.
    """
    return convolutional("lconv", shape, dynamic=False)
