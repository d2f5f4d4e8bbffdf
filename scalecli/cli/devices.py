"""`scalecli devices`: the devices that a run would have here, after they have computed something."""

from __future__ import annotations

from typing import Any

import click

from scalecli.cli.options.devices import device_options
from scalecli.cli.options.groups import Command
from scalecli.cli.output.formats import Column, format_option, print_record
from scalecli.devices import Request, open_devices, prepare_environment
from scalecli.devices.machine import check_import, installed, tpu_chips
from scalecli.errors import ScalecliError

_PACKAGES = ("tensorflow", "tensorflow-tpu", "libtpu", "jax", "keras")
COLUMNS = (
    Column("backend", "Backend"),
    Column("strategy", "Strategy"),
    Column("replicas", "Replicas"),
    Column("topology", "Topology"),
    Column("devices", "Devices"),
    Column("tpu_chips", "TPU chips of this machine"),
    *(Column(name, name) for name in _PACKAGES),
)


@click.command("devices", cls=Command)
@device_options
@format_option
def command(format: str, strategy: Any, tpu: str | None, model_parallel: int | None, deterministic: bool) -> None:
    """Show the devices that a run would have here, and let them compute.

    The first thing to run on a new machine: what is missing, or installed in versions that do not fit, is one line.
    """
    request = Request(strategy, tpu, model_parallel, deterministic=deterministic)
    prepare_environment(request)
    check_import()
    import keras
    import numpy as np

    from scalecli.runs.recipe import environment

    devices = open_devices(request)
    numbers = np.arange(devices.replicas, dtype="float32")
    total = devices.mapped(keras.Sequential(), keras.ops.sum, "sum")(numbers)
    if total != numbers.sum():
        raise ScalecliError(f"the devices add 0 to {devices.replicas - 1} up to {total}, not {numbers.sum()}")
    record = {
        "backend": keras.backend.backend(),
        "strategy": devices.strategy.kind,
        "replicas": devices.replicas,
        "topology": devices.strategy.topology,
        "devices": environment().devices,
        "tpu_chips": tpu_chips() or None,
        **{name: installed(name) for name in _PACKAGES},
    }
    print_record("devices", record, COLUMNS, format)
