"""Whether a training step fits into memory, and how long the run will take, by estimate, before it is tried."""

from __future__ import annotations

import contextlib
import os
from dataclasses import replace
from pathlib import Path

from scalecli.costs import Batch
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training, device_memory
from scalecli.costs.this_machine import rough_duration, seconds_here, this_machine
from scalecli.errors import ConfigurationError
from scalecli.manifest import Data, Manifest
from scalecli.runs.recipe import Recipe
from scalecli.specs import ModelSpec
from scalecli.tables import humanise

SHORT_SECONDS = 60.0
_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_warning(spec: ModelSpec, manifest: Manifest, recipe: Recipe) -> str | None:
    """Says that a step of a run needs more memory than there is; None where it doesn't, or that isn't known.

    Known is the memory of this machine, for runs on its processors, and of a device of the accelerators that
    `this_machine` knows, unless several share a model.
    """
    batch = _batch(spec, manifest, recipe.batch // recipe.accumulation)
    machine: Machine | None = Machine("cpu", chips=1)
    owner, capacity = "this machine", machine_memory()
    if not _is_on_processors(manifest):
        machine = this_machine()
        owner, capacity = "a device here", round(machine.device_memory_bytes) if machine else None
        if machine and manifest.strategy.kind == "one":
            machine = replace(machine, chips=1)
    if batch is None or machine is None or capacity is None or manifest.strategy.kind == "jax-model-parallel":
        return None
    training = Training(recipe.optimizer, recipe.precision, recipe.rematerialise)
    try:
        needed = device_memory(spec, batch, machine, training).total
    except ConfigurationError:  # a model that can't be estimated may be trained all the same
        return None
    if needed <= capacity:
        return None
    return (
        f"a step on {batch.sequences:,} examples at once needs {humanise(needed, 'bytes')} by estimate, and {owner} "
        f"has {humanise(capacity, 'bytes')}; less --batch, or more --accumulation, needs less"
    )


def time_note(spec: ModelSpec, manifest: Manifest, recipe: Recipe, steps_done: int) -> str | None:
    """Says how long the rest of a run will take; None for a minute or less, and where that can't be estimated."""
    batch, steps = _batch(spec, manifest, recipe.batch), recipe.steps - steps_done
    if batch is None or manifest.strategy.kind == "multi-worker":
        return None
    machine = Machine("cpu", chips=1) if _is_on_processors(manifest) else None
    seconds = estimated_seconds(spec, batch, recipe, steps, machine)
    if seconds is None or seconds <= SHORT_SECONDS:
        return None
    return f"{steps:,} steps take about {rough_duration(seconds)} on this machine, by estimate, without validation"


def estimated_seconds(
    spec: ModelSpec, batch: Batch, recipe: Recipe, steps: int, machine: Machine | None = None
) -> float | None:
    """How long so many steps of a recipe would take on this machine (see `this_machine.seconds_here`)."""
    training = Training(recipe.optimizer, recipe.precision, recipe.rematerialise)
    return seconds_here(spec, batch, training, steps, machine)


def _is_on_processors(manifest: Manifest) -> bool:
    return not any(device.startswith(("GPU", "TPU", "CUDA")) for device in manifest.environment.devices)


def _batch(spec: ModelSpec, manifest: Manifest, sequences: int) -> Batch | None:
    """So many examples of a run at once, None where their lengths are not known."""
    lengths = spec.lengths
    if isinstance(manifest.data, Data):
        lengths = manifest.data.inputs_length, manifest.data.targets_length
    return lengths and Batch(sequences, *lengths)


def machine_memory() -> int | None:
    """The bytes of memory that this process may have, None where the system doesn't say."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    with contextlib.suppress(OSError, ValueError):  # no limit is the word "max"
        found = min(found, int(_GROUP_LIMIT.read_text()))
    return found
