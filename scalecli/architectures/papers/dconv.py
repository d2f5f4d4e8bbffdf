"""Dynamic convolutions instead of self-attention (Wu et al. 2019)."""

from __future__ import annotations

from scalecli.architectures.papers.lconv import convolutional

# Taps that are predicted from each position's input (Wu et al. 2019, section 4).
architecture = convolutional("dconv", dynamic=True)
