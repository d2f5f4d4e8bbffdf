"""`pretrain --dry-run --compile-for` with libtpu: small steps are compiled."""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import pytest

from scalecli import costs
from scalecli.architectures import build_spec
from scalecli.cli.main import run
from scalecli.shape import Shape

ROOT = Path(__file__).parents[2]
ON_TENSORFLOW = keras.backend.backend() == "tensorflow"
FIELDS = {"encoder_layers": 2, "decoder_layers": 3, "d_model": 128, "d_ff": 256, "d_kv": 32, "heads": 4}
SHAPE = "".join(f"{name}: {size}\n" for name, size in FIELDS.items())
BATCH = costs.Batch(16, 128, 29)  # 128 inputs take 29 targets


@pytest.fixture
def compiled(monkeypatch, capsys):
    """Compiles what the arguments say; returns the plan."""

    def plan(arguments):
        monkeypatch.chdir(ROOT)
        code = run([*arguments.split(), "--format", "json", "--dry-run"])
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return json.loads(captured.out)["tables"]["plan"][0]

    return plan


def only_on(backend):
    return pytest.mark.skipif(keras.backend.backend() != backend, reason="in the process on the other backend")


@pytest.mark.parametrize(
    ("topology", "devices", "model_parallel", "memory"),
    [("v3:1x1", 2, 1, 16 * 2**30)] if ON_TENSORFLOW else [("v5e:2x2", 4, 2, 16_000_000_000)],
)
def test_a_step_is_compiled_for_a_tpu(tmp_path, topology, devices, model_parallel, memory):
    """As users start it, in a process of its own."""
    (tmp_path / "shape.yaml").write_text(SHAPE)
    arguments = (
        "pretrain shape.yaml --vocabulary train:100 --inputs-length 128 --batch 16 --precision bfloat16 "
        f"--compile-for {topology} --model-parallel {model_parallel} --dry-run --format json"
    )
    ran = subprocess.run(
        [sys.executable, "-m", "scalecli", *arguments.split()],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)["tables"]["plan"][0]
    spec = build_spec("transformer", Shape(**FIELDS, vocabulary=256))
    assert found["lengths"] == {"inputs": BATCH.inputs, "targets": BATCH.targets}
    rows = BATCH.sequences * model_parallel // devices
    of_batch = 4 * rows * (BATCH.inputs + BATCH.targets)
    # All is split over the devices of a replica but the norms, and what is factored along another axis.
    whole = costs.weights_bytes(spec) + costs.adafactor_bytes(spec)
    assert found["arguments_bytes"] == pytest.approx(whole / model_parallel + of_batch, rel=0.05)
    parts = found["arguments_bytes"] + found["temporaries_bytes"] + found["program_bytes"]
    assert parts <= found["device_bytes"] < parts + 10_000
    assert found["fits"] and found["device_memory"] == memory
    assert found["replicas"] == devices // model_parallel == 2
    expected = sum(costs.flops(spec, BATCH, "training").values()) / devices
    assert found["planned_device_flops"] == round(expected)
    assert found["device_flops"] == pytest.approx(expected, rel=0.05)
    assert "unknown_loops" not in found
    # The gradients are added up over the replicas, in bfloat16 where that is what they are computed in.
    assert found["all_reduce_count"] > (1 if ON_TENSORFLOW else 5)
    assert found["all_reduce_bytes"] > costs.weights_bytes(spec) / 2 / model_parallel


SMALL = "--nl 2 --dm 128 --ff 256 --kv 32 --nh 4 --vocabulary train:100 --inputs-length 64 --batch 8"


@only_on("tensorflow")
@pytest.mark.parametrize("architecture", ["switch", "lconv", "shapes/examples/synthesizer.py"])
def test_a_step_of_other_architectures_is_compiled(compiled, architecture):
    found = compiled(f"pretrain tiny --arch {architecture} {SMALL} --compile-for v3:1x1")
    assert (found["replicas"], found["fits"]) == (2, True)
    # What is added up are the gradients, and a few sums.
    assert found["all_reduce_bytes"] == pytest.approx(found["weights_bytes"], rel=0.01)


@only_on("jax")
@pytest.mark.parametrize("example", ["fnet", "synthesizer"])
def test_an_architecture_of_ones_own_is_split_but_for_its_own_layers(compiled, example):
    arguments = f"pretrain tiny --arch shapes/examples/{example}.py {SMALL} --compile-for v5e:2x2 --model-parallel 2"
    found = compiled(arguments)
    assert (found["replicas"], found["fits"]) == (2, True)
    # Both devices of a replica do all of its own layers; if they did all of the others, it would be twice the plan.
    assert 0.95 < found["device_flops"] / found["planned_device_flops"] < 1.5
    assert found["all_reduce_bytes"] > found["weights_bytes"] / 2
