"""Rematerialised blocks: the same losses, reports and gradients, for which less is kept."""

import keras
import numpy as np
import pytest
from keras import ops

from scalecli.architectures import TEXT_ARCHITECTURES
from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle
from tests.xla import use_xla

# Eagerly for all: what gradients flow to must be handed to a block, and that is each architecture's matter. How it is
# compiled, each way and in loops within loops, is the scan's, and tested there.
CASES = {
    "tensorflow": [(architecture, "eager") for architecture in TEXT_ARCHITECTURES] + [("transformer", "xla")],
    "jax": [("switch", "xla")],
}[keras.backend.backend()]
SEED = 7


def model_of(architecture, rematerialise):
    keras.utils.set_random_seed(1)
    return EncoderDecoder(oracle.small_spec(architecture), dropout_rate=0.2, rematerialise=rematerialise)


def batch_of():
    random = np.random.default_rng(0)
    batch = {"inputs": random.integers(2, 128, (2, 16)), "targets": random.integers(2, 128, (2, 8))}
    batch["inputs"][1, 12:], batch["targets"][1, 5:] = 0, 0
    return {name: ids.astype("int32") for name, ids in batch.items()}


def loss_reports_and_gradients(model, way):
    """Of one batch in training, with dropout and noise; gradients by path. `way` is xla or eager."""
    batch, by_path = batch_of(), model.weights_by_path()

    def loss_of():
        found = model.losses(batch, SEED)
        real = ops.cast(batch["targets"] > 0, "float32")
        return ops.sum(found.cross_entropy * real) + found.auxiliary_loss, found.reports

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        def compute():
            with tf.GradientTape() as tape:
                loss, reports = loss_of()
            gradients = tape.gradient(loss, [variable.value for variable in by_path.values()])
            return loss, reports, [tf.convert_to_tensor(each) for each in gradients]

        loss, reports, gradients = tf.function(compute, jit_compile=True)() if way == "xla" else compute()
    else:
        import jax

        def stateless(values):
            with keras.StatelessScope(state_mapping=list(zip(by_path.values(), values, strict=True))):
                return loss_of()

        program = jax.jit(jax.value_and_grad(stateless, has_aux=True))
        (loss, reports), gradients = program([variable.value for variable in by_path.values()])
    reports = {name: np.array(report) for name, report in reports.items()}
    return float(loss), reports, dict(zip(by_path, map(np.array, gradients), strict=True))


@pytest.mark.parametrize(("architecture", "way"), CASES)
def test_losses_reports_and_gradients_are_the_same(architecture, way, monkeypatch):
    use_xla(monkeypatch, way == "xla")
    (loss, reports, gradients), (expected, expected_reports, expected_gradients) = (
        loss_reports_and_gradients(model_of(architecture, rematerialise), way) for rematerialise in (True, False)
    )
    assert loss == pytest.approx(expected, rel=1e-6)
    assert set(reports) == set(expected_reports)
    for name, report in expected_reports.items():
        np.testing.assert_allclose(reports[name], report, rtol=1e-5, err_msg=name)
    for path, gradient in expected_gradients.items():
        np.testing.assert_allclose(gradients[path], gradient, atol=1e-5 * np.abs(gradient).max(), err_msg=path)
    assert np.median([np.abs(gradient).max() for gradient in expected_gradients.values()]) > 1e-2
