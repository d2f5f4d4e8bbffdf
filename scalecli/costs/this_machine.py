"""The chips of the machine that this runs on, and how long it would train. Neither TensorFlow nor JAX is asked."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path

from scalecli.costs import Batch
from scalecli.costs.hardware import CORES_OF_CPU, Machine, chips
from scalecli.costs.memory import Training
from scalecli.costs.roofline import estimate
from scalecli.errors import ConfigurationError
from scalecli.specs import ModelSpec

# Of a small model on two cores: until everything is imported, and from there to the first step, built and compiled.
IMPORT_SECONDS, COMPILE_SECONDS = 8.0, 12.0
_GPUS = Path("/proc/driver/nvidia/gpus")
_CPU_INFO = Path("/proc/cpuinfo")
# How fast processors train in bfloat16, with matrix units for it (small, tests/benchmarks/README.md) and without
# (shapes/hardware/chips.yaml), against float32.
_BFLOAT16_SPEEDS = {True: 1.6, False: 1 / 3, None: 1.0}
_TPU_TYPE = re.compile(r"v(2|3|4|5p|5litepod|6e)-(\d+)")


def this_machine() -> Machine | None:
    """The machine that this runs on: its TPU, its visible NVIDIA GPUs, else its processors.

    None where the GPUs are of several kinds, or of one that is not among the chips.
    """
    if tpu := _tpu():
        return tpu
    models = _gpu_models()
    names = {_gpu_chip(model) for model in models}
    if not models:
        return Machine("cpu", chips=1)
    name = names.pop() if len(names) == 1 else None
    return Machine(name, len(models)) if name else None


def seconds_here(
    spec: ModelSpec, batch: Batch, training: Training, steps: int, machine: Machine | None
) -> float | None:
    """How long so many steps would take on this machine, start-up and compiling included; an estimate.

    None where `machine`, as much of it as is used, is not known or can't have this batch or precision (see
    `roofline.estimate`).
    """
    if machine is None:
        return None
    speed = speed_here(machine)
    if machine.name == "cpu" and training.precision == "bfloat16":
        training, speed = replace(training, precision="float32"), speed * _BFLOAT16_SPEEDS[has_bfloat16_units()]
    try:
        steps_per_s = estimate(spec, batch, machine, training).steps_per_s * speed
    except ConfigurationError:
        return None
    return IMPORT_SECONDS + COMPILE_SECONDS + steps / steps_per_s


def rough_duration(seconds: float) -> str:
    """`50 s`, `12 minutes`, `7.5 hours`, `34 days`: as exact as an estimate is."""
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.2g} {unit}" if seconds < 100 * size else f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} s"


def speed_here(machine: Machine) -> float:
    """How many times as fast this machine is as its chips: that of the processors follows from their number."""
    if machine.name != "cpu":
        return 1.0
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return (cores or CORES_OF_CPU) / CORES_OF_CPU


def has_bfloat16_units() -> bool | None:
    """Whether this machine's processors have matrix units for bfloat16 (AMX); None where that is not known."""
    try:
        flags = re.search(r"^flags\s*:(.*)$", _CPU_INFO.read_text(), re.MULTILINE)
    except OSError:
        return None
    return "amx_bf16" in flags[1].split() if flags else None


def _tpu() -> Machine | None:
    match = _TPU_TYPE.fullmatch(os.environ.get("TPU_ACCELERATOR_TYPE", ""))
    if match is None:
        return None
    version, count = match.group(1).replace("litepod", "e"), int(match.group(2))
    return Machine(f"tpu-v{version}", count if version in ("5e", "6e") else max(1, count // 2))  # else it counts cores


def _gpu_models() -> list[str]:
    """The models of the visible GPUs, as NVIDIA's driver names them."""
    models = []
    for file in sorted(_GPUS.glob("*/information")):
        models += [line.partition(":")[2].strip() for line in file.read_text().splitlines() if line.startswith("Model")]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    return models if visible is None else models[: len(list(filter(None, visible.split(","))))]


def _gpu_chip(model: str) -> str | None:
    """The chip that NVIDIA's driver calls `NVIDIA A100-SXM4-80GB`, None where it isn't known."""
    family = next((name for name in ("a100", "h100", "h200") if name in model.lower()), None)
    if family == "a100":
        return "a100-80" if "80GB" in model else "a100-40"
    return family if family in chips() else None
