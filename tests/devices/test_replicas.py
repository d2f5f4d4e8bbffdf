"""The tests of several devices, each kind in a process that has as many virtual ones."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

FOLDER = Path(__file__).parent
SETTINGS = {
    "tensorflow": {"KERAS_BACKEND": "tensorflow"},
    "tpu": {"KERAS_BACKEND": "tensorflow"},
    "jax": {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0",
    },
}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="this is the process on the other backend")
@pytest.mark.parametrize("devices", SETTINGS)
def test_several_devices(devices):
    if importlib.util.find_spec(SETTINGS[devices]["KERAS_BACKEND"]) is None:
        pytest.skip(f"{SETTINGS[devices]['KERAS_BACKEND']} is not installed")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER / f"on_{devices}.py")],
        cwd=FOLDER.parents[1],
        env={**os.environ, "SCALECLI_TEST_REPLICAS": devices, **SETTINGS[devices]},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout
