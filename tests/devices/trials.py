"""The same steps on whatever devices, for tests that compare them."""

from dataclasses import dataclass

import keras
import numpy as np

from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle
from tests.steps import steps_of

STEPS = 2


@dataclass
class Trial:
    """What came out of two steps: figures, weights and the optimizer's state by path."""

    figures: object
    weights: dict
    state: dict
    optimizer: object
    variables: dict


def trial_on(devices, batches, dropout=0.0, rate=0.01, **options):
    """Two steps from the same first weights; `batches(devices)` iterates over them."""
    keras.utils.set_random_seed(0)
    model = devices.new_model(lambda: EncoderDecoder(oracle.small_spec("transformer", layers=1), dropout_rate=dropout))
    steps, optimizer = steps_of(model, rate, devices=devices, **options)
    figures = steps.run(batches(devices), STEPS)
    weights = model.weights_by_path()
    state = devices.numpy(optimizer.state_by_path(weights))
    return Trial(figures, devices.numpy(weights), state, optimizer, weights)


def assert_same(found, expected):
    """Losses, gradients (by their norm and by the optimizer's statistics of them) and weights, to rounding."""
    np.testing.assert_allclose(found.figures.losses, expected.figures.losses, rtol=1e-5)
    np.testing.assert_allclose(found.figures.norms, expected.figures.norms, rtol=1e-5)
    for kind in ("state", "weights"):
        for path, value in getattr(expected, kind).items():
            np.testing.assert_allclose(
                getattr(found, kind)[path], value, rtol=1e-3, atol=1e-5, err_msg=f"{kind} {path}"
            )
    assert len(found.weights) == len(expected.weights) > 10
