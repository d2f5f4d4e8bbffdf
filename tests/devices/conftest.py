"""The tests of several devices run in processes of their own: `processes`."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from tests.devices import forked
from tests.devices.batches import images_batch, packed_text, repeated

FOLDER = Path(__file__).parent
TENSORFLOW = {"KERAS_BACKEND": "tensorflow", "SCALECLI_TEST_REPLICAS": "tensorflow"}
JAX = {"KERAS_BACKEND": "jax", "SCALECLI_TEST_REPLICAS": "jax"}
EIGHT_CPUS = "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
# What must be installed, the files of tests, and the environment. Those that start without TensorFlow come first: the
# others wait until it is imported.
PROCESSES = {
    "JAX": ("jax", ["on_jax.py"], {**JAX, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": EIGHT_CPUS}),
    "libtpu with JAX": ("libtpu", ["on_libtpu.py"], {**JAX, "XLA_FLAGS": ""}),
    "TensorFlow": ("tensorflow", ["on_tensorflow.py", "on_tpu.py"], TENSORFLOW),
    "TensorFlow's TPU bridge": ("tensorflow", ["on_tpu_bridge.py"], TENSORFLOW),
    "libtpu with TensorFlow": ("libtpu", ["on_libtpu.py"], {**TENSORFLOW, "XLA_FLAGS": ""}),
}

match os.environ.get("SCALECLI_TEST_REPLICAS"):
    case "jax":
        sys.modules["tensorflow"] = None  # whoever imports it, fails
    case "tensorflow":
        from tests.devices import emulated_tpu

        emulated_tpu.make_cores(4)


def pytest_collection_modifyitems(items):
    items.sort(key=waits_for_processes)


def waits_for_processes(item):
    return "processes" in item.fixturenames


@pytest.fixture(scope="session")
def processes(tmp_path_factory):
    """The processes by kind: each is busy on one core most of the time."""
    logs, started = tmp_path_factory.mktemp("logs"), {}
    for kind, (needed, names, environment) in PROCESSES.items():
        if importlib.util.find_spec(needed) is not None:
            files, fork = [str(FOLDER / name) for name in names], environment["KERAS_BACKEND"] == "tensorflow"
            started[kind] = forked.start(logs / kind, forked.run_tests, environment, *files, fork=fork)
    yield started
    for process in started.values():
        process.kill()
        process.join()


@pytest.fixture(scope="session", autouse=True)
def processes_run_beside_the_other_tests(request):
    """They take longest: they start before the folder's first test, and the last tests of all wait for them."""
    if not any(map(waits_for_processes, request.session.items)):
        return
    import keras

    if keras.backend.backend() == "tensorflow":
        request.getfixturevalue("processes")


@pytest.fixture(scope="module")
def emulated():
    """TPU cores that `emulated_tpu.tpu_of` opens."""
    from tests.devices import emulated_tpu

    with pytest.MonkeyPatch.context() as patch:
        emulated_tpu.install(4, setattr=patch.setattr)
        yield


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
def bigrams_alone(one_device):
    """As `text_alone`, of a model that is traced in no time."""
    from tests.devices.trials import BigramModel, trial_on

    return trial_on(one_device, packed_text(), make=BigramModel)


@pytest.fixture(scope="session")
def images_alone(one_device):
    """What training on images comes to on one device."""
    from tests.devices.trials import SMALL_RATE, trial_on, vision_model

    return trial_on(one_device, repeated(images_batch()), make=vision_model, rate=SMALL_RATE)
