"""Runs through the command line on emulated TPUs: of this machine, and a slice of two hosts over loopback."""

import os
import re
import signal
import socket
import time
from pathlib import Path

import keras
import numpy as np
import pytest

from scalecli.devices import Request, open_devices
from scalecli.errors import MissingError
from scalecli.manifest import load_manifest
from tests.devices import forked
from tests.runs.conftest import material, metrics  # noqa: F401

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TPUStrategy is TensorFlow's")

STEPS, EVERY = 8, 2
PATIENCE = 600  # seconds; most of it goes into imports, and the machine may be busy
TASK = """name: parity
train: rows.tsv
validation: rows.tsv
input: "{text}"
target: label
labels: [even, odd]
metrics: [accuracy]
lengths: {inputs: 16, targets: 8}
"""


@pytest.fixture
def launch(tmp_path):
    """Calls a function in a process of its own: see `forked.start`."""
    launched = []

    def launch(function, *arguments):
        launched.append(forked.start(tmp_path / f"log{len(launched)}", function, *arguments))
        return launched[-1]

    yield launch
    for process in launched:
        process.kill()
        process.join()


@pytest.fixture
def start(launch):
    """Starts the command line on emulated TPUs: see `emulated_cli`."""
    return lambda tpu, *arguments: launch(command_line, tpu, *map(str, arguments))


def command_line(*arguments):
    from tests.devices import emulated_cli  # imports TensorFlow, which this process does without

    emulated_cli.carry_out(*arguments)


def command_line_killed_in(run, *arguments):
    """The command line, whose process is killed while it writes the second checkpoint of a run."""
    from scalecli.training import checkpoints

    flush = checkpoints._flush

    def killed(path):
        if f"{run}/checkpoints/.{2 * EVERY:08d}." in str(path):
            os.kill(os.getpid(), signal.SIGKILL)
        flush(path)

    checkpoints._flush = killed
    command_line(*arguments)


def ended(process, seconds=PATIENCE):
    """The exit code, and the lines of errors; TensorFlow's own log goes on after them."""
    process.join(seconds)
    assert process.exitcode is not None, f"still running after {seconds} s: {process.log.read_text()[-2000:]}"
    return process.exitcode, [line for line in process.log.read_text().splitlines() if line.startswith("error: ")]


def wait_until(reached, *processes):
    deadline = time.monotonic() + PATIENCE
    while not reached():
        assert time.monotonic() < deadline, "waited too long"
        for each in processes:
            assert each.is_alive(), each.log.read_text()[-2000:]
        time.sleep(0.05)


def losses(directory):
    return [row["loss"] for (_, trained), row in sorted(metrics(directory).items()) if trained]


def options_of(steps=STEPS):
    return {"steps": steps, "checkpoint_every": EVERY, "validate_every": STEPS, "schedule": "constant", "keep": STEPS}


def succeed(process):
    assert ended(process)[0] == 0, process.log.read_text()[-2000:]


def test_a_tpu_of_this_machine_trains_tunes_and_evaluates_as_one_device(material, tmp_path, launch, start):  # noqa: F811
    task = task_in(tmp_path)
    cache, tpu = ["--cache-directory", material.folder / "cache"], ["--strategy", "tpu"]
    pretraining = [*material.pretraining(tmp_path / "tpu", **options_of()), *tpu]
    tuning = ["finetune", tmp_path / "tpu", "--task", task, *cache]
    tuning += ["--steps", STEPS, "--batch", 4, "--checkpoint-every", EVERY, "--validate-every", STEPS, "--dropout", 0]
    tuning += ["--keep", STEPS]
    tuned = [*tuning, "--run", tmp_path / "tuned", *tpu]
    commands = ["2", *pretraining], ["2", *pretraining, "then", *tuned]

    for name, command in zip(("tpu", "tuned"), commands, strict=True):
        resumed = launch(command_line_killed_in, tmp_path / name, *map(str, command))
        assert ended(resumed)[0] == -signal.SIGKILL, resumed.log.read_text()[-2000:]
    assert f"{tmp_path / 'tpu'}: going on from step {EVERY}" in resumed.log.read_text()
    results = ["eval", tmp_path / "tuned", "--run", tmp_path / "scores-2", *cache, *tpu]
    resumed = start("2", *tuned, "then", *results)
    succeed(resumed)
    assert f"{tmp_path / 'tuned'}: going on from step {EVERY}" in resumed.log.read_text()
    for name in ("tpu", "tuned"):
        manifest = load_manifest(tmp_path / name)
        assert (manifest.status, manifest.strategy.kind, manifest.strategy.replicas) == ("completed", "tpu", 2)

    # The same on one device; and evaluations on a TPU of one core, such as a v5e-1.
    one = ["--strategy", "one"]
    unbroken = [
        [*material.pretraining(tmp_path / "one", **options_of()), *one],
        [*tuning, "--run", tmp_path / "tuned-one", *one],
        ["eval", tmp_path / "tuned", "--run", tmp_path / "scores-1", *cache, *tpu],
        ["eval", tmp_path / "tpu", "--text", material.text, *cache, *tpu],
    ]
    succeed(start("1", *[part for command in unbroken for part in ("then", *command)][1:]))
    for on_tpu, on_one in (("tpu", "one"), ("tuned", "tuned-one")):
        np.testing.assert_allclose(losses(tmp_path / on_tpu), losses(tmp_path / on_one), rtol=1e-4)
        assert len(losses(tmp_path / on_tpu)) == STEPS
    scores = [load_manifest(tmp_path / name).results for name in ("scores-2", "scores-1")]
    assert scores[0] == scores[1] and scores[0][STEPS]["parity/examples"] == 16


def task_in(folder):
    """A task of 16 examples."""
    (folder / "rows.tsv").write_text("text\tlabel\n" + "".join(f"bada {n}\t{n % 2}\n" for n in range(16)))
    (folder / "task.yaml").write_text(TASK)
    return folder / "task.yaml"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [str(each.getsockname()[1]) for each in sockets]
    for each in sockets:
        each.close()
    return ports


def is_listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", int(port))) == 0


def workers_on(ports, start):
    """A worker that listens on each port."""
    workers = [start("1", "worker", "--port", port) for port in ports]
    for port in ports:
        wait_until(lambda port=port: is_listening(port), *workers)
    return workers


def test_a_slice_of_two_hosts(material, tmp_path, start):  # noqa: F811
    ports = free_ports(2)
    workers = workers_on(ports, start)
    slice_of_two = f"1@{','.join(ports)}"
    arguments = [*material.pretraining(tmp_path / "run", **options_of(1000)), "--tpu", "slice"]

    run = start(slice_of_two, *arguments)
    wait_until((tmp_path / f"run/checkpoints/{EVERY:08d}/checkpoint.yaml").exists, run)
    workers[1].kill()
    code, errors = ended(run, 60)
    assert (code, len(errors)) == (1, 1) and errors[0].startswith("error: another worker of this run is gone"), errors
    before = losses(tmp_path / "run")

    workers[0].terminate()
    assert ended(workers[0], 30)[0] == -signal.SIGTERM
    workers = workers_on(ports, start)
    run = start(slice_of_two, *arguments)
    wait_until(lambda: "going on from step" in run.log.read_text(), run)
    kept = max(int(each.name) for each in (tmp_path / "run/checkpoints").glob("[0-9]*"))
    wait_until((tmp_path / f"run/checkpoints/{kept + EVERY:08d}/checkpoint.yaml").exists, run)
    run.terminate()
    code, errors = ended(run, 60)
    assert (code, len(errors)) == (130, 1) and "which is saved" in errors[0], errors
    assert "Exception ignored" not in run.log.read_text()
    found = losses(tmp_path / "run")
    assert len(found) > len(before[:EVERY]) and found[:EVERY] == before[:EVERY]
    manifest = load_manifest(tmp_path / "run")
    assert (manifest.strategy.kind, manifest.strategy.replicas) == ("tpu", 2)

    flags = ["--steps", "2", "--batch", "4", "--validate-every", "2", "--evaluation-batch", "4", "--dropout", "0.1"]
    cache = ["--cache-directory", material.folder / "cache"]
    tuned = start(
        slice_of_two, "finetune", tmp_path / "run", "--task", task_in(tmp_path), *flags, *cache, "--tpu", "slice"
    )
    assert ended(tuned)[0] == 0, tuned.log.read_text()[-2000:]
    assert all(each.is_alive() for each in workers)


def look_for_files(ports, seen):
    """Prints what a slice of these workers says of files that both hosts, one of them and none can read."""
    import tensorflow as tf

    from tests.devices import emulated_tpu

    emulated_tpu.make_cores(1)
    emulated_tpu.install(1, ports)
    devices = open_devices(Request(tpu="slice"))
    with tf.device("/job:worker/task:0/device:CPU:0"):
        tf.io.write_file("ram://one/own[1].npy", "")  # which is in that process's memory
    devices.check_readable([seen])
    for file in ("ram://one/own[1].npy", "/none/b.npy"):
        try:
            devices.check_readable([seen, file])
        except MissingError as error:
            print(error)


def in_folder(folder, function, *arguments):
    folder.mkdir()
    os.chdir(folder)
    function(*arguments)


def send_to_hosts(ports, file):
    """Sends a file to hosts that have none, another one, a part of it, the same, and where it can't be written."""
    import tensorflow as tf

    from scalecli.devices import host_files
    from tests.devices import emulated_tpu

    emulated_tpu.make_cores(1)
    emulated_tpu.install(1, ports)
    devices = open_devices(Request(tpu="slice"))
    host_files._PART_BYTES = 1000  # several parts
    tokens, copies = np.arange(1100, dtype="int32").tobytes(), [Path(f"../{host}", file) for host in range(2)]
    Path(file).parent.mkdir()
    Path(file).write_bytes(tokens)
    for left in ({}, {0: tokens[::-1]}, {0: b"", 1: tokens[:1000]}):
        for host, content in left.items():
            copies[host].write_bytes(content)
        devices.send([file])
        assert [copy.read_bytes() for copy in copies] == [tokens] * 2
    written = [copy.stat().st_mtime_ns for copy in copies]
    devices.send([file])
    assert [copy.stat().st_mtime_ns for copy in copies] == written
    real, tf.io.write_file = tf.io.write_file, lambda name, content: real(name, tf.strings.substr(content, 0, 50))
    copies[1].unlink()
    with pytest.raises(MissingError, match=rf"host 1 of this slice: {re.escape(file)} arrived damaged"):
        devices.send([file])
    tf.io.write_file = real
    copies[0].unlink()
    copies[0].mkdir()
    with pytest.raises(MissingError, match=rf"host 0 of this slice: {re.escape(file)}: .*directory") as caught:
        devices.send([file])
    assert "\n" not in str(caught.value)


def test_files_of_the_cache_are_sent_to_hosts_that_lack_them(tmp_path, launch):
    ports = free_ports(2)
    for host, port in enumerate(ports):  # each with files of its own under the same relative paths
        worker = launch(in_folder, tmp_path / str(host), command_line, "1", "worker", "--port", port)
        wait_until(lambda port=port: is_listening(port), worker)
    succeed(launch(in_folder, tmp_path / "coordinator", send_to_hosts, ports, "cache/tokens[1].npy"))


def test_hosts_that_do_not_see_a_file_are_named(tmp_path, launch, start):
    seen = tmp_path / "seen [*].npy"
    seen.touch()
    ports = free_ports(2)
    workers_on(ports, start)
    looking = launch(look_for_files, ports, str(seen))
    succeed(looking)
    shared = "images and datasets must lie on a path that all hosts have"
    assert [line for line in looking.log.read_text().splitlines() if line.startswith("host ")] == [
        f"host 1 of this slice has no ram://one/own[1].npy; {shared}",
        f"host 0 of this slice has no /none/b.npy; {shared}",
    ]
