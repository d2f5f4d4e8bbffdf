"""Runs that do nothing but save, for killing: a line of stdin is the checkpoints, such as 1.4, that the next one lives.

    python -m tests.training.saved ADDRESS CACHE

The arrays of a step are drawn from it, so that whoever reads them can tell whether they are whole and of that step.
This process is forked for each life, because the imports would take most of the time; TensorFlow is not among them.
"""

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np

from scalecli.manifest import save_manifest
from scalecli.storage.run_storage import open_storage
from scalecli.training.checkpoints import Saving
from scalecli.training.run_checkpoints import RunCheckpoints
from tests.manifests import example_manifest

SAVING = Saving(validate_every=1, checkpoint_every=1, keep=2)
ELEMENTS = 40_000


class Variable:
    """What checkpoints need of a Keras variable."""

    def __init__(self, shape):
        self.shape, self.value = shape, None

    def assign(self, value):
        self.value = np.asarray(value)


def variables():
    return {"a/kernel": Variable((ELEMENTS,))}, {"iterations": Variable(()), "a/kernel/rows": Variable((ELEMENTS,))}


def arrays(step):
    random = np.random.default_rng(step)
    weights, rows = (random.normal(size=ELEMENTS).astype("float32") for _ in range(2))
    return {"a/kernel": weights}, {"iterations": np.array(step, "int32"), "a/kernel/rows": rows}


def restored(place, messages):
    """The step that a run goes on from, after a look that its arrays are that step's."""
    weights, state = variables()
    step = RunCheckpoints(place, SAVING).restore(weights, state, messages.append)
    for found, expected in zip((weights, state), arrays(step), strict=True):
        for path, variable in found.items():
            if step:
                np.testing.assert_array_equal(variable.value, expected[path], err_msg=f"{path} at step {step}")
    return step


def save_for_ever(address, cache, begun):
    """A run whose steps take no time; it goes on from what is there, and says at the pipe `begun` when it saves."""
    place = open_storage(address, Path(cache))
    place.refresh()
    step = restored(place, messages := [])
    assert not messages, messages
    checkpoints, manifest = RunCheckpoints(place, SAVING), example_manifest()
    while True:
        step += 1
        os.write(begun, b"!")
        save_manifest(manifest, place.directory)
        checkpoints.save(step, *arrays(step), manifest)
        checkpoints.finish()
        checkpoints.trust(None)


def main():
    import gcsfs  # noqa: F401, before the forks, as the next
    import safetensors.numpy  # noqa: F401

    assert "tensorflow" not in sys.modules
    seconds = 0.01  # that a checkpoint has taken
    for line in sys.stdin:
        begun, its_begun = os.pipe()
        pid = os.fork()
        if not pid:
            save_for_ever(*sys.argv[1:], its_begun)
        os.close(its_begun)
        alive = os.read(begun, 1)
        for _ in range(int(float(line))):
            start = time.monotonic()
            alive = alive and os.read(begun, 1)
            seconds = time.monotonic() - start
        time.sleep(float(line) % 1 * seconds)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(begun)
        print("killed" if alive else "ended by itself", flush=True)


if __name__ == "__main__":
    main()
