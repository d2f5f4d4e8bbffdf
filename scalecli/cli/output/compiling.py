"""What `--compile-for` prints: a training step as compiled for a TPU that is not there."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from scalecli.cli.output.formats import Column
from scalecli.costs import Batch, flops
from scalecli.devices import Request
from scalecli.devices.hlo import COLLECTIVES, ProgramCosts
from scalecli.errors import UsageError

if TYPE_CHECKING:
    from scalecli.runs.recipe import Recipe
    from scalecli.specs import ModelSpec


def _keys(kind: str) -> tuple[str, str]:
    """The columns of a kind of collectives: how many, and their bytes."""
    name = kind.replace("-", "_")
    return f"{name}_count", f"{name}_bytes"


def _collective_columns(kind: str) -> tuple[Column, Column]:
    count_key, bytes_key = _keys(kind)
    return Column(count_key, f"Collectives a step: {kind}"), Column(bytes_key, "  bytes of a device", "bytes")


COMPILED_COLUMNS = (
    Column("compiled_for", "Compiled for"),
    Column("backend", "Backend"),
    Column("chip", "Chip"),
    Column("chips", "Chips"),
    Column("replicas", "Replicas of the model"),
    Column("model_parallel", "Devices a replica"),
    Column("arguments_bytes", "Memory a device: weights, optimizer state, batch", "bytes"),
    Column("temporaries_bytes", "  temporaries", "bytes"),
    Column("program_bytes", "  program", "bytes"),
    Column("device_bytes", "  total", "bytes"),
    Column("device_memory", "  of", "bytes"),
    Column("fits", "Fits"),
    Column("device_flops", "FLOPs a device, in the program", "flops"),
    Column("planned_device_flops", "FLOPs a device, by the cost model", "flops"),
    *(column for kind in COLLECTIVES for column in _collective_columns(kind)),
    Column("unknown_loops", "Loops of unknown length, counted once"),
    Column("compile_seconds", "Compile time, s", "float"),
)


def check_compile_options(topology: str | None, dry_run: bool, devices: Request) -> None:
    """Raises UsageError for options that `--compile-for` doesn't go with, or lacks."""
    if topology is None:
        return
    if not dry_run:
        raise UsageError(f"--compile-for {topology} goes with --dry-run")
    if devices.kind not in ("auto", "tpu") or devices.tpu:
        raise UsageError(f"--compile-for {topology} names the devices; leave out --strategy and --tpu")


def compiled_figures(
    spec: ModelSpec, recipe: Recipe, inputs: int, targets: int, topology: str, asked: Request
) -> dict[str, Any]:
    """The values of `COMPILED_COLUMNS`; None for what the compiler didn't tell, since the step doesn't fit.

    Raises:
        ConfigurationError: it can't be compiled (see `runs.compiling.compile_step`).
    """
    from scalecli.devices.tpu_check import machine_of
    from scalecli.models.keras_settings import settle_keras
    from scalecli.runs.compiling import compile_step

    backend = settle_keras()
    on_jax = backend == "jax"
    model_parallel = asked.parallel_on(machine_of(topology, 1).devices) if on_jax else asked.model_parallel or 1
    machine = machine_of(topology, model_parallel)
    with _ended_by_signals():
        compiled = compile_step(spec, recipe, inputs, targets, topology, model_parallel)
    planned = sum(flops(spec, Batch(recipe.batch, inputs, targets), "training").values())
    return {
        "compiled_for": topology,
        "backend": backend,
        "chip": machine.name,
        "chips": machine.chips,
        "replicas": machine.replicas,
        "model_parallel": model_parallel,
        "arguments_bytes": compiled.arguments,
        "temporaries_bytes": compiled.temporaries,
        "program_bytes": compiled.program,
        "device_bytes": compiled.total,
        "device_memory": round(machine.device_memory_bytes),
        "fits": compiled.arguments is not None and compiled.total <= machine.device_memory_bytes,
        "planned_device_flops": round(planned / machine.devices),
        **_work_figures(compiled.work),
        "compile_seconds": round(compiled.seconds, 1),
    }


@contextlib.contextmanager
def _ended_by_signals() -> Iterator[None]:
    """Within it Ctrl-C and SIGTERM end the process at once.

    Nothing is to be saved, and Python would hear of them only when the compiler has ended, minutes later.
    """
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _work_figures(work: ProgramCosts | None) -> dict[str, Any]:
    """Of collectives only the kinds that there are."""
    if work is None:
        return {}
    figures: dict[str, Any] = {"device_flops": work.flops}
    for kind, count in work.collectives.items():
        count_key, bytes_key = _keys(kind)
        figures |= {count_key: count, bytes_key: work.collective_bytes[kind]}
    return figures | ({"unknown_loops": work.unknown_loops} if work.unknown_loops else {})
