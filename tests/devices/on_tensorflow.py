"""Several replicas are one device, number by number: TensorFlow's MirroredStrategy on virtual CPUs."""

import keras
import numpy as np
import pytest

from tests.devices.batches import ROWS, images_batch, packed_text, repeated
from tests.devices.trials import SMALL_RATE, STEPS, BigramModel, assert_same, seeds_of, trial_on, vision_model


def devices_of(replicas):
    import tensorflow as tf

    from scalecli.devices.tensorflow import TensorFlowDevices

    names = [f"CPU:{number}" for number in range(replicas)]
    reduction = tf.distribute.ReductionToOneDevice()
    return TensorFlowDevices(tf.distribute.MirroredStrategy(names, cross_device_ops=reduction), "mirrored")


def test_replicas_are_one_device(text_alone):
    several = trial_on(devices_of(2), packed_text(), accumulation=2)
    assert_same(several, text_alone)
    assert several.figures.reports.keys() == text_alone.figures.reports.keys()


def test_four_replicas_are_one_device(bigrams_alone):
    assert_same(trial_on(devices_of(4), packed_text(), make=BigramModel), bigrams_alone)


def test_replicas_with_adamw_are_one_device(one_device):
    several, alone = (
        trial_on(devices, packed_text(), make=BigramModel, optimizer="adamw", rate=1e-3)
        for devices in (devices_of(2), one_device)
    )
    assert_same(several, alone)


def test_replicas_of_a_vision_transformer_are_one_device(images_alone):
    several = trial_on(devices_of(2), repeated(images_batch()), make=vision_model, rate=SMALL_RATE)
    assert_same(several, images_alone)


def test_dropout_differs_between_replicas(monkeypatch):
    seeds = seeds_of(monkeypatch, devices_of(2), packed_text())
    assert len(set(seeds)) == len(seeds) == STEPS * 2


def test_a_mapped_function_sees_the_parts_of_a_batch():
    from scalecli.models.encoder_decoder import EncoderDecoder
    from tests import oracle

    devices = devices_of(4)
    model = devices.new_model(lambda: EncoderDecoder(oracle.small_spec("transformer")))
    whole = np.arange(2 * ROWS, dtype="int32").reshape(ROWS, 2)
    rows = devices.mapped(model, lambda x: x + keras.ops.shape(x)[0], "rows")(whole)
    np.testing.assert_array_equal(rows, whole + ROWS // 4)
    total = devices.mapped(model, lambda batch: {"sum": keras.ops.sum(batch["x"])}, "sum")({"x": whole})
    assert total["sum"] == whole.sum()


def test_strategies_that_are_not_there_are_refused_in_one_line(monkeypatch):
    from scalecli.devices import Request, open_devices
    from scalecli.errors import ConfigurationError

    assert open_devices(Request()).strategy.kind == "one"  # CPUs are not taken for several devices unasked
    assert open_devices(Request("mirrored")).replicas == 5  # the host of the emulated TPU and its four cores
    refused = {
        "no TPU 'local'": Request("tpu"),
        "TF_CONFIG names no other worker": Request("multi-worker"),
        "KERAS_BACKEND=jax has model parallelism": Request(model_parallel=2),
    }
    for words, request in refused.items():
        with pytest.raises(ConfigurationError, match=words) as caught:
            open_devices(request)
        assert "\n" not in str(caught.value)
    monkeypatch.setenv("TF_CONFIG", '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 2}}')
    with pytest.raises(ConfigurationError, match="none of its 2 workers"):
        open_devices(Request())
