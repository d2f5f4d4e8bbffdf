"""What a run records of its speed, of its devices and of the wait for its input; the profiler."""

import json
import time

import numpy as np
import pytest

from scalecli.cli.output.progress import ConsoleReporter
from scalecli.devices.tensorflow import TensorFlowDevices
from scalecli.manifest import Throughput, load_manifest
from scalecli.training.reporting import Progress
from tests.runs.conftest import SPEED, command

PEAK = 1e12


@pytest.fixture
def waiting(monkeypatch):
    """Steps that take a hundredth of a second, most of it in waiting for the batch."""
    from scalecli.training.records import StepMetrics
    from scalecli.training.steps.tensorflow import TensorFlowSteps

    def run(self, batches, count):
        next(batches)
        time.sleep(0.01 * count)
        ones = np.ones(count, "float32")
        return StepMetrics(ones, ones, 0.009 * ones, {})

    monkeypatch.setattr(TensorFlowSteps, "run", run)


def speeds(directory):
    """The rows that end a call, with their speeds."""
    rows = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [row for row in rows if "steps_per_s" in row]


def test_speed_waiting_and_memory_are_recorded(material, tmp_path, waiting, monkeypatch):
    monkeypatch.setattr(TensorFlowDevices, "memory_bytes", lambda self: 123_456)
    directory = tmp_path / "run"
    arguments = material.pretraining(directory, steps=6, validate_every=6, checkpoint_every=3, peak_flops=PEAK)
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    manifest, rows = load_manifest(directory), speeds(directory)
    assert rows[-1]["step"] == 6
    tokens = manifest.batch * (manifest.data.inputs_length + manifest.data.targets_length)
    for row in rows:
        assert 0 < row["steps_per_s"] < 100
        assert row["tokens_per_s"] == pytest.approx(row["steps_per_s"] * tokens)
        flops = row["steps_per_s"] * manifest.flops.training_total / manifest.steps
        assert row["model_flops_utilisation"] == pytest.approx(flops / PEAK)
        assert row["input_wait_s"] == pytest.approx(0.009)
        assert row["device_memory_bytes"] == 123_456
    assert "input pipeline too slow: " in ran.err and "% of the time waits for it" in ran.err
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(directory / "tensorboard"))
    board.Reload()
    assert set(board.Tags()["tensors"]) >= {*SPEED, "loss", "learning_rate"}


def test_what_is_not_known_is_not_recorded(material, tmp_path, waiting, monkeypatch):
    """Some devices don't tell their memory, and nobody has said what these devices' peak is."""
    monkeypatch.setattr(TensorFlowDevices, "memory_bytes", lambda self: None)
    assert command(*material.pretraining(tmp_path / "run", steps=2)).code == 0
    (row,) = speeds(tmp_path / "run")[-1:]
    assert row.keys() & {*SPEED} == {"steps_per_s", "tokens_per_s", "input_wait_s"}


def test_the_profiler_records_the_steps_it_is_told(material, tmp_path):
    directory = tmp_path / "run"
    arguments = material.pretraining(directory, steps=4, profile="2:3", validate_every=4)
    ran = command(*arguments)
    assert ran.code == 0, ran.err
    assert f"profiled steps 2 to 3: tensorboard --logdir {directory}/tensorboard" in ran.err
    (trace,) = directory.glob("tensorboard/plugins/profile/*/*.xplane.pb")
    assert trace.stat().st_size > 1000
    rows = speeds(directory)
    assert {2, 3} <= {row["step"] for row in rows}  # a call ends where the profiler starts and stops
    assert rows[-1].get("device_memory_bytes", 1) > 0


@pytest.mark.parametrize("flag", ["3", "3:3", "4:3", "a:b", "-1:3"])
def test_a_profile_that_cannot_be(material, tmp_path, flag):
    assert "START:STOP is accepted, such as 100:110" in command(
        *material.pretraining(tmp_path / "run", profile=flag)
    ).failed(3)


@pytest.mark.parametrize(("share", "said"), [(0.34, True), (0.02, False)])
def test_an_input_pipeline_that_is_too_slow_is_said(capsys, share, said):
    speed = Throughput(steps_per_s=2.0, tokens_per_s=100.0)
    ConsoleReporter().progress(Progress(step=5, steps=10, loss=2.0, loss_steps=3, speed=speed, input_wait=share))
    line = capsys.readouterr().err
    slow = "  input pipeline too slow: 34% of the time waits for it" if said else ""
    assert line == f"step 5 of 10  0:02 left  loss 2.0000 (mean of 3 steps)  2 steps/s{slow}  100 tokens/s\n"


def test_the_call_that_compiles_gives_no_speed_and_no_time_left(capsys, material, tmp_path, waiting):
    ConsoleReporter().progress(Progress(step=1, steps=10, loss=2.0, loss_steps=3, speed=None, input_wait=0.9))
    assert capsys.readouterr().err == "step 1 of 10  loss 2.0000 (mean of 3 steps)\n"
    assert command(*material.pretraining(tmp_path / "run", steps=4)).code == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    ends = [row for row in rows if "input_wait_s" in row]
    assert "steps_per_s" not in ends[0] and "steps_per_s" in ends[-1]
