"""Every architecture learns: the compiled training step on real text."""

import argparse
import inspect

import keras
import numpy as np
import pytest

from scalecli.architectures import TEXT_ARCHITECTURES
from scalecli.models.compiled import compiled
from scalecli.models.encoder_decoder import EncoderDecoder
from tests import oracle
from tests.steps import steps_of
from tests.xla import use_xla

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the steps are TensorFlow's")

# The others' gradients are compiled by XLA where they are compared with the original code's.
WITHOUT_FIXTURE = ("performer", "mixer")
INPUTS, TARGETS, BATCH, STEPS = 32, 16, 16, 60


def model_of(architecture, precision="float32"):
    keras.utils.set_random_seed(0)
    # A block of evolved has so many parts that two of them would take most of this file's time to compile.
    knobs = {"mixer": {"positions": INPUTS}, "evolved": {"layers": 1}}.get(architecture, {})
    return EncoderDecoder(oracle.small_spec(architecture, vocabulary=256, **knobs), precision)


def source_code(count):
    """Batches of bytes of Python's own source: the model goes on with what it has read."""
    ids = np.frombuffer((inspect.getsource(argparse) + inspect.getsource(inspect)).encode(), "uint8").astype("int32")
    starts = np.random.default_rng(0).integers(0, len(ids) - INPUTS - TARGETS, (count, BATCH, 1))
    cut = ids[starts + np.arange(INPUTS + TARGETS)]
    return {"inputs": cut[..., :INPUTS], "targets": np.ascontiguousarray(cut[..., INPUTS:])}


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_the_loss_goes_down_on_real_text(architecture, monkeypatch):
    import tensorflow as tf

    use_xla(monkeypatch, architecture in WITHOUT_FIXTURE)
    steps, _ = steps_of(model_of(architecture), 0.03)
    batches = iter(tf.data.Dataset.from_tensor_slices(source_code(STEPS)))
    losses, norms, *_ = steps.run(batches, STEPS)
    assert np.isfinite(norms).all()
    # Bytes that are predicted by their frequencies alone cost 3.2 nats.
    assert losses[0] > 4.5
    assert losses[-5:].mean() < 3.2


@pytest.mark.parametrize("architecture", TEXT_ARCHITECTURES)
def test_bfloat16_is_near_float32(architecture):
    batch = {name: whole[0, :4] for name, whole in source_code(1).items()}
    exact, rounded = (
        np.asarray(compiled(model, model)(batch))
        for model in (model_of(architecture, p) for p in ("float32", "bfloat16"))
    )
    assert rounded.dtype == np.float32
    difference = np.abs(rounded - exact)
    assert 0 < difference.mean() < 0.02 * exact.std()
    assert (exact.argmax(-1) == rounded.argmax(-1)).mean() > 0.9
