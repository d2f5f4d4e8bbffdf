"""The tests of several devices, each kind in a process that has as many virtual ones."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

FOLDER = Path(__file__).parent
FILES = {"tensorflow": ("on_tensorflow.py", "on_tpu.py"), "jax": ("on_jax.py",)}
SETTINGS = {
    "tensorflow": {"KERAS_BACKEND": "tensorflow"},
    "jax": {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0",
    },
}


pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="this is the process on the other backend"
)


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """The processes by kind, all at once: each is busy on one core most of the time."""
    logs, started = tmp_path_factory.mktemp("logs"), {}
    for kind, settings in SETTINGS.items():
        if importlib.util.find_spec(settings["KERAS_BACKEND"]) is not None:
            files = [str(FOLDER / name) for name in FILES[kind]]
            command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files]
            environment = {**os.environ, "SCALECLI_TEST_REPLICAS": kind, **settings}
            log = (logs / kind).open("w+")
            process = subprocess.Popen(command, cwd=FOLDER.parents[1], env=environment, stdout=log, stderr=log)
            started[kind] = process, log
    yield started
    for process, log in started.values():
        process.kill()
        process.wait()
        log.close()


@pytest.mark.parametrize("kind", SETTINGS)
def test_several_devices(processes, kind):
    if kind not in processes:
        pytest.skip(f"{SETTINGS[kind]['KERAS_BACKEND']} is not installed")
    process, log = processes[kind]
    code = process.wait(1800)
    log.seek(0)
    said = log.read()
    assert code == 0, said[-4000:]
    assert " passed" in said
