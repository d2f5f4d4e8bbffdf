"""The tests that run in processes of their own: see `conftest.PROCESSES`."""

import keras
import pytest

from tests.devices.conftest import PROCESSES

pytestmark = pytest.mark.skipif(
    keras.backend.backend() != "tensorflow", reason="this is the process on the other backend"
)


@pytest.mark.parametrize("kind", PROCESSES)
def test_several_devices(processes, kind):
    if kind not in processes:
        pytest.skip(f"{PROCESSES[kind][0]} is not installed")
    process = processes[kind]
    process.join(1800)
    said = process.log.read_text()
    assert process.exitcode == 0, said[-4000:]
    assert " passed" in said
