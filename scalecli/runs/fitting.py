"""Whether a training step fits into memory, and how long the run will take, by estimate, before it is tried."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from scalecli.costs import Batch
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import device_memory
from scalecli.costs.this_machine import has_bfloat16_units, rough_duration, seconds_here, this_machine
from scalecli.devices import Request
from scalecli.errors import ConfigurationError
from scalecli.manifest import Manifest
from scalecli.runs.recipe import Recipe
from scalecli.specs import ModelSpec
from scalecli.tables import humanise

SHORT_SECONDS = 60.0
_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def machine_of(manifest: Manifest) -> Machine | None:
    """The machine that a run trains on, where it is this one alone and its chips are known; otherwise None."""
    kind, machine = manifest.strategy.kind, this_machine()
    if not any(device.startswith(("GPU", "TPU", "CUDA")) for device in manifest.environment.devices):
        machine = Machine("cpu", chips=1)
    if machine is None or kind in ("multi-worker", "jax-model-parallel"):
        return None
    return replace(machine, chips=1) if kind == "one" else machine


def planned_machine(request: Request) -> Machine | None:
    """The machine that a run would train on, told from what was asked for, before any device is opened; or None."""
    machine, wants_tpu = this_machine(), request.kind == "tpu" or request.tpu
    if machine is None or request.kind == "multi-worker" or (wants_tpu and not machine.name.startswith("tpu")):
        return None
    if os.environ.get("KERAS_BACKEND") == "jax" and request.parallel_on(machine.devices) > 1:
        return None
    return replace(machine, chips=1) if request.kind == "one" else machine


def memory_warning(spec: ModelSpec, batch: Batch, recipe: Recipe, machine: Machine | None) -> str | None:
    """Says that a step needs more memory than a device of the machine has; None where it doesn't, or that isn't known.

    `batch` is that of an optimizer step, no matter in how many parts it is computed. The processors' memory is this
    machine's own.
    """
    if machine is None:
        return None
    is_cpu = machine.name == "cpu"
    owner = "this machine" if is_cpu else "a device here"
    capacity = machine_memory() if is_cpu else machine.device_memory_bytes
    batch = replace(batch, sequences=batch.sequences // recipe.accumulation)
    try:
        needed = device_memory(spec, batch, machine, recipe.training).total
    except ConfigurationError:  # a model that can't be estimated may be trained all the same
        return None
    if capacity is None or needed <= capacity:
        return None
    return (
        f"a step on {batch.sequences:,} examples at once needs {humanise(needed, 'bytes')} by estimate, and {owner} "
        f"has {humanise(capacity, 'bytes')}; less --batch, or more --accumulation, needs less"
    )


def precision_warning(recipe: Recipe, machine: Machine | None) -> str | None:
    """Says that processors without matrix units for bfloat16 are slower in it; None if not so, or not known."""
    if recipe.precision == "float32" or not _is_tensorflow_on_cpu(machine) or has_bfloat16_units() is not False:
        return None
    return (
        "this machine has no matrix units for bfloat16 (AMX): steps may take three times as long as with --precision "
        "float32"
    )


def time_note(spec: ModelSpec, batch: Batch, recipe: Recipe, machine: Machine | None, steps: int) -> str | None:
    """Says how long so many steps will take; None for a minute or less, and where that can't be estimated."""
    seconds = seconds_here(spec, batch, recipe.training, steps, machine)
    if seconds is None or seconds <= SHORT_SECONDS:
        return None
    about = f"{steps:,} steps take about {rough_duration(seconds)} on this machine"
    return f"{about}, by a roofline estimate, without validation"


def precision_advice(recipe: Recipe, machine: Machine | None) -> str | None:
    """Says that processors with matrix units for bfloat16 are faster in it; None where a run already uses it."""
    if recipe.precision == "bfloat16" or not _is_tensorflow_on_cpu(machine) or not has_bfloat16_units():
        return None
    return "--precision bfloat16 would be faster: this machine has matrix units for it (AMX)"


def _is_tensorflow_on_cpu(machine: Machine | None) -> bool:
    """Whether a run computes with TensorFlow's own kernels for processors."""
    return machine is not None and machine.name == "cpu" and os.environ.get("KERAS_BACKEND") != "jax"


def machine_memory() -> int | None:
    """The bytes of memory that this process may have, None where the system doesn't say."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    with contextlib.suppress(OSError, ValueError):  # no limit is the word "max"
        memory = min(memory, int(_GROUP_LIMIT.read_text()))
    return memory
