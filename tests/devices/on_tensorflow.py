"""Several replicas are one device, number by number: TensorFlow's MirroredStrategy on four virtual CPUs."""

import keras
import numpy as np
import pytest

from tests.devices.batches import ROWS, batch_of, images_batch
from tests.devices.trials import SMALL_RATE, STEPS, assert_same, seeds_of, trial_on, vision_model


@pytest.fixture(scope="module", autouse=True)
def four_cpus():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 4)


def devices_of(replicas):
    import tensorflow as tf

    from scalecli.devices.tensorflow import TensorFlowDevices

    if replicas == 1:
        return TensorFlowDevices(tf.distribute.get_strategy(), "one")
    names = [f"CPU:{number}" for number in range(replicas)]
    reduction = tf.distribute.ReductionToOneDevice()
    return TensorFlowDevices(tf.distribute.MirroredStrategy(names, cross_device_ops=reduction), "mirrored")


def repeated(batch):
    """The batch at every step, in the pieces of a host's share."""
    import tensorflow as tf

    def batches(start_step, share):
        return tf.data.Dataset.from_tensor_slices(batch).repeat().batch(share.piece(ROWS), drop_remainder=True)

    return lambda devices: devices.batches(batches, 0)


@pytest.fixture(scope="module")
def alone():
    return trial_on(devices_of(1), repeated(batch_of(packed=True)))


@pytest.mark.parametrize(("replicas", "accumulation"), [(2, 2), (4, 1)])
def test_replicas_are_one_device(alone, replicas, accumulation):
    several = trial_on(devices_of(replicas), repeated(batch_of(packed=True)), accumulation=accumulation)
    assert_same(several, alone)
    assert several.figures.reports.keys() == alone.figures.reports.keys()


def test_replicas_with_adamw_are_one_device():
    several, alone = (
        trial_on(devices_of(n), repeated(batch_of(packed=True)), optimizer="adamw", rate=1e-3) for n in (2, 1)
    )
    assert_same(several, alone)


def test_replicas_of_a_vision_transformer_are_one_device():
    options = {"make": vision_model, "rate": SMALL_RATE}
    several, alone = (trial_on(devices_of(n), repeated(images_batch()), **options) for n in (2, 1))
    assert_same(several, alone)


def test_dropout_differs_between_replicas(monkeypatch):
    seeds = seeds_of(monkeypatch, devices_of(2), repeated(batch_of()))
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
    assert open_devices(Request("mirrored")).replicas == 4
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
