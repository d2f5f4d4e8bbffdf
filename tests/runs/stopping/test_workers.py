"""Two processes train one model over loopback: the same losses as one, and what happens when one of them dies."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

from scalecli.manifest import load_manifest
from tests.buckets import emulator, storage_server  # noqa: F401
from tests.runs.conftest import command, metrics

STEPS, EVERY = 240, 30
PATIENCE = 240  # seconds; most of it goes into imports


class Workers:
    """Processes of one command, in whose arguments INDEX stands for the process's number."""

    def __init__(self, arguments, log, first="worker", count=2, **environment):
        """`first` is the type of the first process's task in TF_CONFIG; the others are workers."""
        with socket.socket() as one, socket.socket() as other:
            for each in (one, other):
                each.bind(("127.0.0.1", 0))
            addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (one, other)][:count]
        tasks = [("worker", 0), ("worker", 1)] if first == "worker" else [(first, 0), ("worker", 0)]
        tasks = tasks[:count]
        cluster = {}
        for (job, _), address in zip(tasks, addresses, strict=True):
            cluster.setdefault(job, []).append(address)
        self.logs = [log.with_suffix(f".{index}") for index in range(count)]
        self.processes = []
        for index, (job, number) in enumerate(tasks):
            config = {"cluster": cluster, "task": {"type": job, "index": number}}
            with self.logs[index].open("w") as stream:
                started = subprocess.Popen(
                    [
                        sys.executable,
                        "-m",
                        "scalecli",
                        *(argument.replace("INDEX", str(index)) for argument in arguments),
                    ],
                    env={**os.environ, "TF_CONFIG": json.dumps(config), "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
                    stdout=stream,
                    stderr=stream,
                )
            self.processes.append(started)

    def wait_until(self, reached):
        deadline = time.monotonic() + PATIENCE
        while not reached():
            assert time.monotonic() < deadline, "waited too long"
            assert all(process.poll() is None for process in self.processes), self.logs[0].read_text()[-2000:]
            time.sleep(0.05)

    def end(self, seconds=PATIENCE):
        """The exit codes, and the last line that the first of them wrote."""
        codes = [process.wait(seconds) for process in self.processes]
        return codes, self.logs[0].read_text().rstrip().splitlines()[-1]

    def kill(self):
        for process in self.processes:
            if process.poll() is None:
                process.kill()


@pytest.fixture
def start(tmp_path):
    started = []

    def start(arguments, **options):
        started.append(Workers([str(argument) for argument in arguments], tmp_path / f"log{len(started)}", **options))
        return started[-1]

    yield start
    for workers in started:
        workers.kill()


def test_a_worker_that_dies_ends_the_run_which_then_goes_on_to_the_same_losses(material, tmp_path, start):
    options = {"steps": STEPS, "checkpoint_every": EVERY, "validate_every": STEPS, "schedule": "constant"}
    arguments = material.pretraining(tmp_path / "two", **options)

    def steps_done():
        file = tmp_path / "two/metrics.jsonl"
        return len(file.read_text().splitlines()) if file.exists() else 0

    workers = start(arguments)
    workers.wait_until(lambda: steps_done() > EVERY + 1)
    killed = time.monotonic()
    workers.processes[1].send_signal(signal.SIGKILL)
    codes, line = workers.end(60)
    assert codes == [1, -signal.SIGKILL]
    assert time.monotonic() - killed < 60
    assert line.startswith("error: another worker of this run is gone")
    before = metrics(tmp_path / "two")

    workers = start(arguments)  # from a checkpoint that both read
    workers.wait_until(lambda: steps_done() > 3 * EVERY)
    workers.processes[1].send_signal(signal.SIGTERM)  # a host is taken away: all save and stop
    codes, line = workers.end()
    assert codes == [130, 130]
    assert "which is saved" in line
    middle = metrics(tmp_path / "two")
    assert max(middle)[0] == max(load_manifest(tmp_path / "two").checkpoints.kept)

    codes, _ = start(arguments).end()
    assert codes == [0, 0]
    two = metrics(tmp_path / "two")
    for earlier in (before, middle):
        assert earlier == {key: two[key] for key in earlier}  # bit for bit
    manifest = load_manifest(tmp_path / "two")
    assert (manifest.strategy.kind, manifest.strategy.replicas) == ("multi-worker", 2)

    assert command(*material.pretraining(tmp_path / "one", **{**options, "steps": EVERY})).code == 0
    one = metrics(tmp_path / "one")
    losses = [[found[step, True]["loss"] for step in range(1, EVERY + 1)] for found in (one, two)]
    np.testing.assert_allclose(losses[1][:5], losses[0][:5], rtol=1e-5)
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-3)  # rounding adds up


@pytest.mark.parametrize(("backend", "first"), [("tensorflow", "chief"), ("jax", "master")])
def test_a_chief_and_a_worker_train_together_and_a_chief_by_itself(material, tmp_path, start, backend, first):
    pytest.importorskip(backend)
    options = {"steps": 3, "schedule": "constant"}
    environment = {"KERAS_BACKEND": backend, "JAX_PLATFORMS": "cpu"}
    together = start(material.pretraining(tmp_path / "two", **options), first=first, **environment)
    assert together.end(2 * PATIENCE)[0] == [0, 0]
    alone = start(material.pretraining(tmp_path / "one", **options), first=first, count=1, **environment)
    assert alone.end(2 * PATIENCE)[0] == [0]
    one, two = (load_manifest(tmp_path / name) for name in ("one", "two"))
    assert (one.strategy.kind, one.strategy.replicas, two.strategy.replicas) == ("one", 1, 2)
    assert getattr(two.environment, backend)  # the backend's version
    losses = [[metrics(tmp_path / name)[step, True]["loss"] for step in range(1, 4)] for name in ("one", "two")]
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)


def test_workers_with_caches_of_their_own_keep_one_run_in_a_bucket(material, emulator, tmp_path, start):  # noqa: F811
    options = {"steps": 240, "checkpoint_every": 20, "validate_every": 240, "schedule": "constant"}
    arguments = material.pretraining("gs://bucket/run", **options, cache_directory=tmp_path / "cache-INDEX")
    emulator.put("bucket", "elsewhere", b"x")  # makes the bucket
    figures = tmp_path / "cache-0/runs/bucket/run/metrics.jsonl"
    workers = start(arguments)
    workers.wait_until(lambda: figures.exists() and len(figures.read_text().splitlines()) > 25)
    workers.processes[1].send_signal(signal.SIGTERM)
    codes, line = workers.end()
    assert codes == [130, 130] and "which is saved" in line
    interrupted = load_manifest("gs://bucket/run")
    assert interrupted.status == "interrupted"
    codes, _ = start(arguments).end()
    assert codes == [0, 0]
    manifest = load_manifest("gs://bucket/run")
    assert (manifest.status, manifest.strategy.replicas) == ("completed", 2)
    assert any(f"resumed at step {interrupted.checkpoints.kept[-1]}" in warning for warning in manifest.warnings)
    kept = {name for name in emulator.names("bucket") if name.endswith("checkpoint.yaml")}
    assert kept == {f"run/checkpoints/{step:08d}/checkpoint.yaml" for step in manifest.checkpoints.kept}
