"""The tests of several devices, on each backend in a process that has as many virtual ones."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

FOLDER = Path(__file__).parent
SETTINGS = {
    "tensorflow": {},
    "jax": {
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0",
    },
}


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="this is the process on the other backend")
@pytest.mark.parametrize("backend", SETTINGS)
def test_several_devices(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(FOLDER / f"on_{backend}.py")],
        cwd=FOLDER.parents[1],
        env={**os.environ, "SCALECLI_TEST_REPLICAS": backend, "KERAS_BACKEND": backend, **SETTINGS[backend]},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stdout[-4000:]
    assert " passed" in ran.stdout
