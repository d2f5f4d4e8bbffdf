"""`pretrain --dry-run --compile-for`: with libtpu two small steps are compiled, each backend's in its own process."""

import configparser
import importlib.util
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
from scalecli.devices import tpu_check
from scalecli.errors import ConfigurationError
from scalecli.shape import Shape

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the same code on either backend")

ROOT = Path(__file__).parents[2]
FIELDS = {"encoder_layers": 2, "decoder_layers": 3, "d_model": 128, "d_ff": 256, "d_kv": 32, "heads": 4}
SHAPE = "".join(f"{name}: {size}\n" for name, size in FIELDS.items())
BATCH = costs.Batch(16, 128, 29)  # 128 inputs take 29 targets


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """A dry run; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shape.yaml").write_text(SHAPE)

    def invoke(*arguments):
        options = ["--vocabulary", "train:100", "--inputs-length", "128", "--batch", "16", "--format", "json"]
        code = run(["pretrain", "shape.yaml", *options, *arguments])
        captured = capsys.readouterr()
        return code, captured.out, captured.err

    return invoke


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (
            ["--compile-for", "v3:4x44", "--dry-run"],
            3,
            "no topology 'v3:4x44'; did you mean 'v3:4x4'?; v3 has v3:1x1, ",
        ),
        (["--compile-for", "v9:4x4", "--dry-run"], 3, "no topology 'v9:4x4'; did you mean 'v"),
        (["--compile-for", "tpu-v5e:2x2", "--dry-run"], 3, "'tpu-v5e:2x2'; did you mean 'v5e:2x2'?"),
        (["--compile-for", "v4:2x2x1", "--dry-run"], 3, "no topology 'v4:2x2x1'"),
        (["--compile-for", "v3:4x4", "--dry-run"], 3, "--batch 16 does not divide into 32 equal shares"),
        (["--compile-for", "v5e:2x2", "--dry-run", "--model-parallel", "3"], 3, "--model-parallel 3 does not divide"),
        (["--compile-for", "v5e:2x2", "--dry-run", "--accumulation", "8"], 3, "in 8 parts can't be divided over 4"),
        (["--compile-for", "v5e:2x2"], 2, "--compile-for v5e:2x2 goes with --dry-run"),
        (["--compile-for", "v5e:2x2", "--dry-run", "--strategy", "one"], 2, "leave out --strategy and --tpu"),
    ],
)
def test_what_can_not_be_compiled_is_one_line(plan, arguments, code, said):
    found, out, err = plan(*arguments)
    assert (found, out, err.count("\n")) == (code, "", 1)
    assert said in err


@pytest.mark.parametrize(("there", "said"), [(None, "libtpu missing"), ("0.0.9", "libtpu 0.0.9")])
def test_the_extra_is_asked_for(plan, monkeypatch, there, said):
    monkeypatch.setattr(tpu_check, "installed", lambda name: there if name == "libtpu" else tpu_check.PINNED[name])
    code, out, err = plan("--compile-for", "v5e:2x2", "--dry-run")
    assert (code, out, err.count("\n")) == (3, "", 1)
    assert said in err and "pip install 'scalecli[tpu-check]'" in err


def test_the_extra_is_what_is_asked_for():
    setup = ROOT / "setup.cfg"
    parser = configparser.ConfigParser()
    parser.read(setup)
    required = parser["options.extras_require"]["tpu-check"].split()
    assert [f"{name}=={version};" for name, version in tpu_check.PINNED.items()] == [
        each for each in required if "==" in each and each.endswith(";")
    ]


@pytest.mark.parametrize(
    ("topology", "chip", "devices"),
    [("v3:4x4", "tpu-v3", 32), ("v5e:4x8", "tpu-v5e", 32), ("v5p:2x2x4", "tpu-v5p", 16)],
)
def test_a_topology_is_a_machine(topology, chip, devices):
    machine = tpu_check.machine_of(topology, 8)
    assert (machine.name, machine.devices, machine.replicas) == (chip, devices, devices // 8)
    with pytest.raises(ConfigurationError, match="does not divide"):
        tpu_check.machine_of(topology, 3)


needs_libtpu = pytest.mark.skipif(
    importlib.util.find_spec("libtpu") is None, reason="the extra [tpu-check] is not installed"
)


def compiled(arguments, folder, backend="tensorflow"):
    """What `--compile-for` says, in a process of its own."""
    ran = subprocess.run(
        [sys.executable, "-m", "scalecli", *arguments.split(), "--format", "json", "--dry-run"],
        cwd=folder,
        env={name: value for name, value in os.environ.items() if name != "XLA_FLAGS"}
        | {"KERAS_BACKEND": backend, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=1800,
    )
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)["tables"]["plan"][0]


@needs_libtpu
@pytest.mark.parametrize(("backend", "model_parallel"), [("tensorflow", 1), ("jax", 2)])
def test_a_step_is_compiled_for_a_tpu(tmp_path, backend, model_parallel):
    (tmp_path / "shape.yaml").write_text(SHAPE)
    arguments = (
        "pretrain shape.yaml --vocabulary train:100 --inputs-length 128 --batch 16 --precision bfloat16 "
        f"--compile-for v5e:2x2 --model-parallel {model_parallel}"
    )
    found = compiled(arguments, tmp_path, backend)
    spec = build_spec("transformer", Shape(**FIELDS, vocabulary=256))
    assert found["lengths"] == {"inputs": BATCH.inputs, "targets": BATCH.targets}
    rows = BATCH.sequences * model_parallel // 4
    of_batch = 4 * rows * (BATCH.inputs + BATCH.targets)
    # All is split over the devices of a replica but the norms, and what is factored along another axis.
    whole = costs.weights_bytes(spec) + costs.adafactor_bytes(spec)
    assert found["arguments_bytes"] == pytest.approx(whole / model_parallel + of_batch, rel=0.05)
    parts = found["arguments_bytes"] + found["temporaries_bytes"] + found["program_bytes"]
    assert parts <= found["device_bytes"] < parts + 10_000
    assert found["fits"] and found["device_memory"] == 16_000_000_000
    expected = sum(costs.flops(spec, BATCH, "training").values()) / 4
    assert found["planned_device_flops"] == round(expected)
    assert found["device_flops"] == pytest.approx(expected, rel=0.05)
    assert "unknown_loops" not in found
    # The gradients are added up over the replicas, in bfloat16 where that is what they are computed in.
    assert found["all_reduce_count"] > (5 if backend == "jax" else 1)
    assert found["all_reduce_bytes"] > costs.weights_bytes(spec) / 2 / model_parallel


SMALL = "--nl 2 --dm 128 --ff 256 --kv 32 --nh 4 --vocabulary train:100 --inputs-length 64 --batch 8"


@needs_libtpu
@pytest.mark.parametrize("architecture", ["transformer", "switch", "lconv", "shapes/examples/synthesizer.py"])
def test_a_step_of_two_replicas_is_compiled_on_tensorflow(architecture):
    found = compiled(f"pretrain tiny --arch {architecture} {SMALL} --compile-for v3:1x1", ROOT)
    assert (found["replicas"], found["fits"]) == (2, True)
    # What is added up are the gradients, and a few sums.
    assert found["all_reduce_bytes"] == pytest.approx(found["weights_bytes"], rel=0.01)


@needs_libtpu
@pytest.mark.parametrize("example", ["fnet", "synthesizer"])
def test_an_architecture_of_ones_own_is_split_but_for_its_own_layers(example):
    arguments = f"pretrain tiny --arch shapes/examples/{example}.py {SMALL} --compile-for v5e:2x2 --model-parallel 2"
    found = compiled(arguments, ROOT, "jax")
    assert (found["replicas"], found["fits"]) == (2, True)
    # Both devices of a replica do all of its own layers; if they did all of the others, it would be twice the plan.
    assert 0.95 < found["device_flops"] / found["planned_device_flops"] < 1.5
    assert found["all_reduce_bytes"] > found["weights_bytes"] / 2
