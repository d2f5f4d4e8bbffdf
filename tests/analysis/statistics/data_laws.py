"""Synthetic runs of a known law of loss over parameters and tokens."""

import numpy as np

from scalecli.analysis.statistics.data_law import DataLaw

# Chinchilla's constants (Hoffmann et al., 2022, section 3.3).
TRUTH = DataLaw(1.69, 406.4, 410.7, 0.34, 0.28)
NAMES = ("irreducible", "size_scale", "data_scale", "size_exponent", "data_exponent")


def synthetic_runs(generator, noise=0.005):
    """Seven sizes, each with three amounts of data, and losses with that relative noise: 21 runs."""
    sizes = np.repeat(np.geomspace(5e7, 1e10, 7), 3)
    data = sizes * np.tile([5.0, 20.0, 80.0], 7)
    losses = np.array([TRUTH.at(*each) for each in zip(sizes, data, strict=True)])
    return sizes, data, losses * np.exp(noise * generator.normal(size=len(losses)))


def covered(fit):
    """For each constant, whether its 95% interval contains the truth."""
    intervals = [fit.interval(lambda law, name=name: getattr(law, name)) for name in NAMES]
    return [low <= getattr(TRUTH, name) <= high for name, (low, high) in zip(NAMES, intervals, strict=True)]
