"""A step that can't fit is said before it is tried."""

import re
from dataclasses import replace

import pytest

from scalecli.architectures import build_spec
from scalecli.costs.hardware import Machine
from scalecli.devices import Request
from scalecli.manifest import Strategy, load_manifest
from scalecli.runs import fitting
from scalecli.runs.recipe import Recipe, batch_of_data
from scalecli.shape import presets
from scalecli.training.schedules import Schedule
from tests.manifests import example_manifest
from tests.runs.conftest import command


def test_too_large_a_batch_is_said_and_a_small_one_not(material, no_training, tmp_path, monkeypatch):
    ran = command(*material.pretraining(tmp_path / "small", steps=1))
    assert ran.code == 0 and "by estimate" not in ran.err
    monkeypatch.setattr(fitting, "machine_memory", lambda: 100_000)
    ran = command(*material.pretraining(tmp_path / "large", steps=1, batch=8, accumulation=2))
    assert ran.code == 0
    line = next(line for line in ran.err.splitlines() if "by estimate" in line)
    assert line.startswith("warning: a step on 4 examples at once needs ")
    assert line.endswith(", and this machine has 100 kB; less --batch, or more --accumulation, needs less")
    assert line.removeprefix("warning: ") in load_manifest(tmp_path / "large").warnings


@pytest.mark.parametrize(("kind", "batch", "said"), [("one", 4096, True), ("one", 8, False), ("mirrored", 128, False)])
def test_the_memory_of_an_accelerator_counts(monkeypatch, kind, batch, said):
    monkeypatch.setattr(fitting, "this_machine", lambda: Machine("h100", chips=2))
    example = example_manifest()
    environment = replace(example.environment, devices=["GPU:0 NVIDIA H100", "GPU:1 NVIDIA H100"])
    manifest = replace(example, environment=environment, strategy=Strategy(kind=kind, replicas=2))
    recipe = Recipe(steps=1, batch=batch, schedule=Schedule("constant", 0.01, 0, 1), dropout=0.0, seed=0)
    spec = build_spec("transformer", presets()["small"])
    step = batch_of_data(spec, manifest.data, batch)
    warning = fitting.memory_warning(spec, step, recipe, fitting.machine_of(manifest))
    assert (warning is not None) == said
    assert not said or (f"{batch:,} examples" in warning and ", and a device here has 80.0 GB; " in warning)


@pytest.mark.parametrize("size", [("--steps", "1"), ("--batch", "4096"), ("--batch", "4096", "--accumulation", "512")])
def test_a_dry_run_says_it_too(size, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fitting, "this_machine", lambda: Machine("h100", chips=1))
    ran = command("pretrain", "small", *size, "--dry-run")
    assert ran.code == 0
    expected = [
        "warning: a step on 4,096 examples at once needs 758 GB by estimate, and a device here has 80.0 GB; less "
        "--batch, or more --accumulation, needs less"
    ]
    assert ran.err.splitlines() == (expected if size == ("--batch", "4096") else [])


@pytest.mark.parametrize(
    ("request_", "here", "used"),
    [
        (Request(), Machine("h100", 4), Machine("h100", 4)),
        (Request("one"), Machine("h100", 4), Machine("h100", 1)),
        (Request("mirrored"), None, None),
        (Request("tpu"), Machine("cpu", 1), None),
        (Request("tpu"), Machine("tpu-v3", 4), Machine("tpu-v3", 4)),
        (Request(tpu="a-slice"), Machine("h100", 4), None),
        (Request("multi-worker"), Machine("h100", 4), None),
    ],
)
def test_a_plan_is_for_the_devices_that_are_asked_for(monkeypatch, request_, here, used):
    monkeypatch.setattr(fitting, "this_machine", lambda: here)
    assert fitting.planned_machine(request_) == used


@pytest.mark.parametrize(
    ("has_units", "precision", "advised"),
    [(True, "float32", True), (True, "bfloat16", False), (False, "float32", False), (None, "float32", False)],
)
def test_a_run_says_at_its_start_how_long_it_will_take(
    material, no_training, tmp_path, monkeypatch, has_units, precision, advised
):
    monkeypatch.setattr(fitting, "SHORT_SECONDS", 0.0)
    monkeypatch.setattr(fitting, "has_bfloat16_units", lambda: has_units)
    ran = command(*material.pretraining(tmp_path / "run", steps=3, precision=precision))
    assert ran.code == 0
    line = r"^3 steps take about \d+ s on this machine, by a roofline estimate, without validation$"
    assert re.search(line, ran.err, re.M)
    assert ("--precision bfloat16 would be faster" in ran.err) == advised


@pytest.mark.parametrize(
    ("has_units", "precision", "warned"),
    [(False, "bfloat16", True), (True, "bfloat16", False), (None, "bfloat16", False), (False, "float32", False)],
)
def test_bfloat16_on_processors_without_units_for_it_is_said(
    material, no_training, tmp_path, monkeypatch, has_units, precision, warned
):
    monkeypatch.setattr(fitting, "has_bfloat16_units", lambda: has_units)
    ran = command(*material.pretraining(tmp_path / "run", steps=1, precision=precision))
    assert ran.code == 0
    assert ("three times as long as with --precision float32" in ran.err) == warned
    assert len(load_manifest(tmp_path / "run").warnings) == warned
    ran = command(*material.pretraining(tmp_path / "plan", steps=1, precision=precision), "--dry-run")
    assert ran.code == 0
    assert ("three times as long as with --precision float32" in ran.err) == warned


def test_a_limit_of_the_group_counts(monkeypatch, tmp_path):
    whole = fitting.machine_memory()
    for content, expected in (("4096\n", 4096), ("max\n", None)):
        (tmp_path / "memory.max").write_text(content)
        monkeypatch.setattr(fitting, "_GROUP_LIMIT", tmp_path / "memory.max")
        memory = fitting.machine_memory()
        assert memory == expected if expected else memory >= whole
