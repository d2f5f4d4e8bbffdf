"""Which chips the machine has, by what its drivers and its environment say."""

import os

import pytest

from scalecli.architectures import build_spec
from scalecli.costs import Batch, this_machine
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training
from scalecli.costs.roofline import estimate
from scalecli.shape import parse_name


@pytest.fixture
def drivers(tmp_path, monkeypatch):
    """Gives a function that sets the models of the GPUs, as NVIDIA's driver names them."""
    monkeypatch.setattr(this_machine, "_GPUS", tmp_path)
    monkeypatch.delenv("TPU_ACCELERATOR_TYPE", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)

    def write(*models):
        for number, model in enumerate(models):
            (tmp_path / f"{number}").mkdir()
            (tmp_path / f"{number}" / "information").write_text(f"Model: \t\t {model}\nIRQ:   \t\t 42\n")

    return write


@pytest.mark.parametrize(
    ("models", "visible", "machine"),
    [
        ([], None, Machine("cpu", 1)),
        (["NVIDIA A100-SXM4-80GB"] * 2, None, Machine("a100-80", 2)),
        (["NVIDIA A100-SXM4-40GB"], None, Machine("a100-40", 1)),
        (["NVIDIA H100 80GB HBM3"] * 4, "0,2", Machine("h100", 2)),
        (["NVIDIA H200"], "", Machine("cpu", 1)),
        (["NVIDIA GeForce RTX 4090"], None, None),
        (["NVIDIA H100 80GB HBM3", "NVIDIA H200"], None, None),
    ],
)
def test_gpus_are_those_of_the_driver_that_are_visible(drivers, monkeypatch, models, visible, machine):
    drivers(*models)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert this_machine.this_machine() == machine


@pytest.mark.parametrize(
    ("kind", "machine"),
    [("v3-8", Machine("tpu-v3", 4)), ("v5litepod-8", Machine("tpu-v5e", 8)), ("v5p-16", Machine("tpu-v5p", 8))],
)
def test_a_tpu_is_counted_in_chips(drivers, monkeypatch, kind, machine):
    monkeypatch.setenv("TPU_ACCELERATOR_TYPE", kind)
    assert this_machine.this_machine() == machine


@pytest.mark.parametrize(
    ("precision", "has_units", "speed"),
    [("float32", True, 1), ("bfloat16", None, 1), ("bfloat16", True, 1.6), ("bfloat16", False, 1 / 3)],
)
def test_the_time_here_is_that_of_all_processors_after_the_start(drivers, monkeypatch, precision, has_units, speed):
    monkeypatch.setattr(this_machine, "has_bfloat16_units", lambda: has_units)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(16), raising=False)
    spec, batch = build_spec("transformer", parse_name("tiny")), Batch(8, 64, 16)
    two_cores = 1000 / estimate(spec, batch, Machine("cpu", 1), Training(precision="float32")).steps_per_s
    start = this_machine.IMPORT_SECONDS + this_machine.COMPILE_SECONDS
    seconds = this_machine.seconds_here(spec, batch, Training(precision=precision), 1000, Machine("cpu", 1))
    assert seconds == pytest.approx(start + two_cores / 8 / speed)


def test_a_precision_that_the_machine_can_t_have_gives_no_time(drivers):
    spec = build_spec("transformer", parse_name("tiny"))
    assert this_machine.seconds_here(spec, Batch(7, 64, 16), Training(), 10, Machine("tpu-v3", 4)) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (50, "50 s"),
        (119, "119 s"),
        (130, "2.2 minutes"),
        (7200, "2 hours"),
        (34 * 86400, "34 days"),
        (1e9, "11,574 days"),
    ],
)
def test_a_duration_is_as_exact_as_an_estimate(seconds, text):
    assert this_machine.rough_duration(seconds) == text


@pytest.mark.parametrize(
    ("said", "has_units"),
    [
        ("processor : 0\nflags\t\t: fpu avx512_bf16 amx_bf16 amx_tile\n", True),
        ("processor : 0\nflags\t\t: fpu avx512_bf16\n", False),
        ("processor : 0\nFeatures : fp asimd bf16\n", None),
        (None, None),
    ],
)
def test_processors_say_whether_they_multiply_bfloat16(tmp_path, monkeypatch, said, has_units):
    if said is not None:
        (tmp_path / "cpuinfo").write_text(said)
    monkeypatch.setattr(this_machine, "_CPU_INFO", tmp_path / "cpuinfo")
    assert this_machine.has_bfloat16_units() is has_units
