"""Whether a training step fits into memory, by estimate, before it is tried."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from scalecli.costs import Batch
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training, device_memory
from scalecli.errors import ConfigurationError
from scalecli.manifest import Data, Manifest
from scalecli.runs.recipe import Recipe
from scalecli.specs import ModelSpec
from scalecli.tables import humanise

_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


def memory_warning(spec: ModelSpec, manifest: Manifest, recipe: Recipe) -> str | None:
    """Says that a step of a run needs more memory than this machine has; None where it doesn't, or that isn't known.

    Known is the memory of a machine that trains on its processors.
    """
    if any(device.startswith(("GPU", "TPU", "CUDA")) for device in manifest.environment.devices):
        return None
    lengths = spec.lengths
    if isinstance(manifest.data, Data):
        lengths = manifest.data.inputs_length, manifest.data.targets_length
    capacity = machine_memory()
    if lengths is None or capacity is None:
        return None
    batch = Batch(recipe.batch // recipe.accumulation, *lengths)
    training = Training(recipe.optimizer, recipe.precision, recipe.rematerialise)
    try:
        needed = device_memory(spec, batch, Machine("cpu", chips=1), training).total
    except ConfigurationError:  # a model that can't be estimated may be trained all the same
        return None
    if needed <= capacity:
        return None
    return (
        f"a step on {batch.sequences:,} examples at once needs {humanise(needed, 'bytes')} by estimate, and this "
        f"machine has {humanise(capacity, 'bytes')}; less --batch, or more --accumulation, needs less"
    )


def machine_memory() -> int | None:
    """The bytes of memory that this process may have, None where the system doesn't say."""
    try:
        found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError):
        return None
    with contextlib.suppress(OSError, ValueError):  # no limit is the word "max"
        found = min(found, int(_GROUP_LIMIT.read_text()))
    return found
