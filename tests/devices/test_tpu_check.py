"""What `pretrain --dry-run --compile-for` says before it compiles anything."""

import configparser
from pathlib import Path

import keras
import pytest

from scalecli.cli.main import run
from scalecli.devices import tpu_check
from scalecli.errors import ConfigurationError

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the same code on either backend")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plan(tmp_path, monkeypatch, capsys):
    """A dry run; returns its exit code, stdout and stderr."""
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments):
        options = ["--vocabulary", "train:100", "--inputs-length", "128", "--batch", "16", "--format", "json"]
        code = run(["pretrain", "tiny", *options, *arguments])
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
