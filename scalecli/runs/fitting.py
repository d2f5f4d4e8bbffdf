"""Whether a training step fits into memory, and how long the run will take, by estimate, before it is tried."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from scalecli.costs.hardware import Machine
from scalecli.costs.memory import device_memory
from scalecli.costs.this_machine import rough_duration, seconds_here, this_machine
from scalecli.errors import ConfigurationError
from scalecli.manifest import Manifest
from scalecli.runs.recipe import Recipe, batch_of_data
from scalecli.specs import ModelSpec
from scalecli.tables import humanise

SHORT_SECONDS = 60.0
_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_warning(spec: ModelSpec, manifest: Manifest, recipe: Recipe) -> str | None:
    """A line where a step needs more memory than there is; None where it fits, or the memory is not known.

    The memory of this machine is known, for runs on its processors, and that of a device of the accelerators that
    `this_machine` knows, unless several share a model.
    """
    batch = batch_of_data(spec, manifest.data, recipe.batch // recipe.accumulation)
    machine: Machine | None = Machine("cpu", chips=1)
    owner, capacity = "this machine", machine_memory()
    if not _is_on_processors(manifest):
        machine = this_machine()
        owner, capacity = "a device here", round(machine.device_memory_bytes) if machine else None
        if machine and manifest.strategy.kind == "one":
            machine = replace(machine, chips=1)
    if machine is None or capacity is None or manifest.strategy.kind == "jax-model-parallel":
        return None
    try:
        needed = device_memory(spec, batch, machine, recipe.training).total
    except ConfigurationError:  # a model that can't be estimated may be trained all the same
        return None
    if needed <= capacity:
        return None
    return (
        f"a step on {batch.sequences:,} examples at once needs {humanise(needed, 'bytes')} by estimate, and {owner} "
        f"has {humanise(capacity, 'bytes')}; less --batch, or more --accumulation, needs less"
    )


def time_note(spec: ModelSpec, manifest: Manifest, recipe: Recipe, steps_done: int) -> str | None:
    """A line on how long the rest of a run will take; None for a minute or less, and where it can't be estimated."""
    if manifest.strategy.kind == "multi-worker":
        return None
    batch, steps = batch_of_data(spec, manifest.data, recipe.batch), recipe.steps - steps_done
    machine = Machine("cpu", chips=1) if _is_on_processors(manifest) else None
    seconds = seconds_here(spec, batch, recipe.training, steps, machine)
    if seconds is None or seconds <= SHORT_SECONDS:
        return None
    return f"{steps:,} steps take about {rough_duration(seconds)} on this machine, by estimate, without validation"


def _is_on_processors(manifest: Manifest) -> bool:
    return not any(device.startswith(("GPU", "TPU", "CUDA")) for device in manifest.environment.devices)


def machine_memory() -> int | None:
    """The bytes of memory that this process may have, None where the system doesn't say."""
    try:
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    with contextlib.suppress(OSError, ValueError):  # no limit is the word "max"
        memory = min(memory, int(_GROUP_LIMIT.read_text()))
    return memory
