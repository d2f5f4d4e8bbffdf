"""What is known of a machine's TPUs and of the installed TensorFlow before that is imported."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from scalecli.cli.main import run
from scalecli.devices import Request, machine, prepare_environment
from scalecli.errors import ConfigurationError, MissingError

CONSTRAINTS = Path(__file__).parents[2] / "scalecli" / "devices" / "tpu-constraints.txt"


@pytest.fixture
def packages(monkeypatch):
    """The versions of the packages that seem to be installed."""
    there = {}
    monkeypatch.setattr(machine, "installed", there.get)
    monkeypatch.delenv("TPU_LOAD_LIBRARY", raising=False)
    return there


@pytest.fixture
def pci(monkeypatch, tmp_path):
    """Adds devices to the PCI bus, by vendor and device."""
    monkeypatch.setattr(machine, "PCI", tmp_path)

    def add(vendor, device):
        folder = tmp_path / f"0000:00:{len(list(tmp_path.iterdir())):02}.0"
        folder.mkdir()
        (folder / "vendor").write_text(f"{vendor}\n")
        (folder / "device").write_text(f"{device}\n")

    return add


def test_chips_are_told_from_what_else_google_has_on_the_bus(pci):
    pci("0x1ae0", "0x0042")  # a network card of Google's
    pci("0x10de", "0x0063")  # another maker's
    assert machine.tpu_chips() == []
    pci("0x1ae0", "0x0063")
    pci("0x1ae0", "0x005e")
    assert machine.tpu_chips() == ["v5e", "v4"]


@pytest.mark.parametrize(
    ("there", "said"),
    [
        ({"tensorflow-tpu": "2.20.0", "libtpu": "0.0.52"}, "would abort with libtpu 0.0.52"),
        ({"tensorflow-tpu": "2.20.0", "libtpu": "0.0.32.1"}, "would abort with libtpu 0.0.32.1"),
        ({"tensorflow-tpu": "2.20.0"}, "would abort with libtpu missing"),
        ({"tensorflow-tpu": "2.20.0", "libtpu": "0.0.21", "tensorflow": "2.20.0"}, "into the same folder"),
    ],
)
def test_a_tensorflow_that_would_abort_is_one_line(packages, there, said, capsys):
    packages.update(there)
    assert run(["devices"]) == 3
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and said in error
    assert "tensorflow-tpu==2.20.0 libtpu==0.0.21" in error


@pytest.mark.parametrize(
    "arguments",
    [
        ["devices"],
        ["worker"],
        ["pretrain", "tiny", "--dry-run"],
        ["import", "small"],
        ["export", "runs/a", "--to", "keras-hub", "out"],
    ],
)
def test_no_command_imports_a_tensorflow_that_would_abort(arguments, tmp_path):
    packages = tmp_path / "packages"
    for name, version in {"tensorflow_tpu": "2.20.0", "libtpu": "0.0.1"}.items():
        (packages / f"{name}-{version}.dist-info").mkdir(parents=True)
        (packages / f"{name}-{version}.dist-info/METADATA").write_text(f"Name: {name}\nVersion: {version}\n")
    (packages / "tensorflow.py").write_text("import os; os.abort()")
    paths = [str(packages), str(CONSTRAINTS.parent), os.environ.get("PYTHONPATH", "")]
    ran = subprocess.run(
        [sys.executable, "-m", "scalecli", *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
        capture_output=True,
        text=True,
    )
    assert (ran.returncode, ran.stdout) == (3, ""), ran
    assert ran.stderr.splitlines()[-1].startswith("error: tensorflow") and machine.INSTALL in ran.stderr


@pytest.mark.parametrize(
    "there",
    [
        {"tensorflow": "2.20.0", "libtpu": "0.0.52"},
        {"tensorflow-tpu": "2.20.0", "libtpu": "0.0.21"},
        {"tensorflow-tpu": "2.20.0", "libtpu": "0.0.31"},
    ],
)
def test_a_tensorflow_that_fits_is_taken(packages, there):
    packages.update(there)
    machine.check_tensorflow()


def test_a_tensorflow_that_aborts_anyhow_is_one_line(packages, monkeypatch, tmp_path):
    packages.update({"tensorflow-tpu": "2.20.0", "libtpu": "0.0.21"})
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\necho 'F ... SomeOp_DoWork not available in this library.' >&2\nkill -ABRT $$\n")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    with pytest.raises(ConfigurationError, match=r"SomeOp_DoWork not available in this library.*tensorflow-tpu==") as e:
        machine.check_import()
    assert "\n" not in str(e.value)


def test_the_constraints_are_what_is_checked(packages):
    pins = dict(re.findall(r"^([a-z-]+)==(.*)$", CONSTRAINTS.read_text(), re.M))
    assert pins == {"tensorflow-tpu": machine.TENSORFLOW_TPU, "libtpu": machine.LIBTPU}
    packages.update(pins)
    machine.check_tensorflow()


@pytest.mark.parametrize(
    ("request_", "left_alone"), [(Request(), False), (Request("one"), True), (Request(tpu="a"), True)]
)
def test_the_machine_s_own_tpu_is_left_alone_by_runs_elsewhere(packages, monkeypatch, request_, left_alone):
    monkeypatch.setattr(os, "environ", dict(os.environ))
    prepare_environment(request_)
    assert (os.environ.get("TPU_LOAD_LIBRARY") == "0") == left_alone


def test_a_tpu_that_this_tensorflow_can_not_use_is_said(pci, monkeypatch):
    tf = pytest.importorskip("tensorflow")
    from scalecli.devices.tensorflow import open_tensorflow

    pci("0x1ae0", "0x0063")
    monkeypatch.setenv("TPU_NAME", "what-the-machine-is-called")
    with pytest.raises(ConfigurationError, match=r"no TPU 'local'.*not the one for TPUs.*machine's v5e takes pip"):
        open_tensorflow(Request())
    assert tf.config.list_logical_devices("TPU") == []


def test_tpu_system_is_no_accelerator(monkeypatch):
    tf = pytest.importorskip("tensorflow")
    from scalecli.models import compiled

    monkeypatch.setattr(compiled.keras.backend, "backend", lambda: "tensorflow")

    def has(*kinds):
        devices = [tf.config.LogicalDevice(f"/device:{kind}:0", kind) for kind in kinds]
        monkeypatch.setattr(tf.config, "list_logical_devices", lambda: devices)
        return compiled.uses_xla()

    assert [has("CPU", "TPU_SYSTEM"), has("CPU", "GPU"), has("CPU", "TPU_SYSTEM", "TPU")] == [False, True, True]


def test_a_file_that_another_host_can_not_read_is_one_line():
    tf = pytest.importorskip("tensorflow")
    from scalecli.devices.tensorflow import TensorFlowDevices

    devices = TensorFlowDevices(tf.distribute.get_strategy(), "one")
    with pytest.raises(tf.errors.NotFoundError), devices.watched():
        tf.io.read_file("/nowhere/tokens.npy")
    devices.hosts = 2
    said = r"/nowhere/tokens.npy.*images and datasets must lie on a path"
    with pytest.raises(MissingError, match=said) as caught, devices.watched():
        tf.io.read_file("/nowhere/tokens.npy")
    assert "\n" not in str(caught.value)
