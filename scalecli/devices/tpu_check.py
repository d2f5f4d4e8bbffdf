"""TPUs that are not there: libtpu's compiler for any topology of them. All that is private to JAX and libtpu is here.

It tells whether XLA for TPUs takes a program, and what memory it needs. It runs nothing, so it knows no speed, and
TensorFlow's own bridge to TPUs has no part in it (`tests/devices` run that).
"""

from __future__ import annotations

import math
import os
import re
import time
from dataclasses import dataclass
from typing import Any

from scalecli.costs.hardware import Machine
from scalecli.devices.hlo import ProgramCosts, work
from scalecli.devices.machine import installed
from scalecli.errors import ConfigurationError, nearest

# The interfaces used here change with every release.
PINNED = {"jax": "0.10.2", "libtpu": "0.0.51"}
INSTALL = "pip install 'scalecli[tpu-check]'"

_PLANES = ("1x1", "2x2", "2x4", "4x4", "4x8", "8x8", "8x16", "16x16")
_CUBES = ("2x2x1", "2x2x2", "2x2x4", "2x4x4", "4x4x4", "4x4x8", "4x8x8", "8x8x8")
# Slices of a pod, in chips. Of v4 libtpu has only the two cores of a chip apart, which run as one there.
_SLICES = {"v2": _PLANES, "v3": (*_PLANES, "16x32", "32x32"), "v5e": _PLANES, "v5p": _CUBES, "v6e": _PLANES}
TOPOLOGIES = tuple(f"{chip}:{sides}" for chip, slices in _SLICES.items() for sides in slices)

_UNITS = {"K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Without these JAX would look for a real TPU, libtpu would ask the cloud's metadata server for it and complain, and
# only one process at a time could compile.
_ALONE = {
    "JAX_PLATFORMS": "cpu",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_LOAD_LIBRARY": "1",
    "TPU_SKIP_MDS_QUERY": "1",
    "TPU_ACCELERATOR_TYPE": "v3-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


@dataclass(frozen=True)
class Compiled:
    """A program as compiled for one device: bytes that it takes there, what it does, and how long compiling took.

    `arguments`: weights, optimizer state and batch. `temporaries`: all else that is alive at the peak. `program`: its
    own code. Where it doesn't fit the device, the compiler tells no more than their `total`.
    """

    total: int
    seconds: float
    arguments: int | None = None
    temporaries: int | None = None
    program: int | None = None
    work: ProgramCosts | None = None


def machine_of(topology: str, model_parallel: int) -> Machine:
    """The machine that a topology such as v3:4x4 is the name of, with so many devices to a replica.

    Raises:
        ConfigurationError: there is no such topology, or its devices do not divide into replicas.
    """
    if topology not in TOPOLOGIES:
        short = topology.lower().removeprefix("tpu-")
        chip = short.partition(":")[0]
        of_chip = [name for name in TOPOLOGIES if name.startswith(f"{chip}:")]
        accepted = f"{chip} has {', '.join(of_chip)}" if of_chip else f"there are {', '.join(TOPOLOGIES)}"
        raise ConfigurationError(f"no topology {topology!r}{nearest(short, of_chip or TOPOLOGIES)}; {accepted}")
    chip, _, sides = topology.partition(":")
    return Machine(f"tpu-{chip}", math.prod(int(side) for side in sides.split("x")), model_parallel)


class TpuCompiler:
    """libtpu's compiler for a topology; `devices` are its `jax.Device`s, which can hold nothing.

    Raises:
        ConfigurationError: the extra [tpu-check] is not installed, or in other versions than ours.
    """

    def __init__(self, topology: str) -> None:
        present = {name: installed(name) for name in PINNED}
        if present != PINNED:
            needed = " and ".join(f"{name} {version}" for name, version in PINNED.items())
            listed = ", ".join(f"{name} {version or 'missing'}" for name, version in present.items())
            raise ConfigurationError(f"compiling for a TPU takes {needed} (found {listed}): {INSTALL}")
        os.environ.update(_ALONE)
        from jax.experimental import topologies

        self.devices: list[Any] = topologies.get_topology_desc(topology, "tpu").devices

    def compile_lowered(self, lowered: Any) -> Compiled:
        """Compiles a `jax.stages.Lowered` for the devices that its arguments are laid out over."""
        return _compiled(lambda: lowered.compile().runtime_executable())

    def compile_stablehlo(self, program: bytes, replicas: int) -> Compiled:
        """Compiles serialised StableHLO, as TensorFlow makes it, for so many devices that each run it."""
        import numpy as np
        from jax._src import compiler
        from jax._src.interpreters import mlir
        from jax._src.lib import _jax
        from jax._src.lib.mlir import ir

        devices = tuple(self.devices[:replicas])
        options = compiler.get_compile_options(
            num_replicas=replicas, num_partitions=1, device_assignment=np.array([[device.id] for device in devices])
        )
        with mlir.make_ir_context(), ir.Location.unknown():
            module = ir.Module.parse(program)
            _without_copies(module.operation)
            return _compiled(lambda: devices[0].client.compile(module, _jax.DeviceList(devices), options))


def _without_copies(operation: Any) -> None:
    """Puts in the place of each mhlo.copy, which JAX's compiler doesn't know, what it copies."""
    for region in operation.regions:
        for block in region:
            for inner in list(block):
                _without_copies(inner.operation)
                if inner.operation.name == "mhlo.copy":
                    inner.operation.result.replace_all_uses_with(inner.operation.operands[0])
                    inner.operation.erase()


def _compiled(compile: Any) -> Compiled:
    """What is to be known of the executable that `compile` returns."""
    import jax

    start = time.monotonic()
    try:
        executable = compile()
    except jax.errors.JaxRuntimeError as error:
        needed = re.search(r"HBM.*\(([0-9.]+)([KMGT])\) exceeds available HBM", str(error))
        if not needed:
            raise
        return Compiled(round(float(needed[1]) * _UNITS[needed[2]]), time.monotonic() - start)
    seconds = time.monotonic() - start
    memory = executable.get_compiled_memory_stats()
    arguments, temporaries = memory.argument_size_in_bytes, memory.temp_size_in_bytes
    program = memory.generated_code_size_in_bytes
    results = memory.output_size_in_bytes - memory.alias_size_in_bytes  # the others take the arguments' place
    return Compiled(
        total=arguments + results + temporaries + program,
        seconds=seconds,
        arguments=arguments,
        temporaries=temporaries,
        program=program,
        work=work("".join(module.to_string() for module in executable.hlo_modules())),
    )
