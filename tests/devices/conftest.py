"""The tests of several devices run in processes of their own, which test_replicas.py starts."""

import os
import sys

import pytest

from tests.devices.batches import images_batch, packed_text, repeated

match os.environ.get("SCALECLI_TEST_REPLICAS"):
    case "jax":
        sys.modules["tensorflow"] = None  # whoever imports it, fails
    case "tensorflow":
        from tests.devices import emulated_tpu

        emulated_tpu.make_cores(4)


@pytest.fixture(scope="session")
def one_device():
    """TensorFlow's one device."""
    import tensorflow as tf

    from scalecli.devices.tensorflow import TensorFlowDevices

    return TensorFlowDevices(tf.distribute.get_strategy(), "one")


@pytest.fixture(scope="session")
def text_alone(one_device):
    """What training on packed text comes to on one device."""
    from tests.devices.trials import trial_on

    return trial_on(one_device, packed_text())


@pytest.fixture(scope="session")
def images_alone(one_device):
    """What training on images comes to on one device."""
    from tests.devices.trials import SMALL_RATE, trial_on, vision_model

    return trial_on(one_device, repeated(images_batch()), make=vision_model, rate=SMALL_RATE)
