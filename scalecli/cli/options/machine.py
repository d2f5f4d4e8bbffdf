"""What a whole training run costs on a machine: options that describe it, and its figures, for `shape` and `flops`."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import click

from scalecli import costs
from scalecli.architectures import LARGEST
from scalecli.cli.options.groups import option_group
from scalecli.cli.options.values import finite
from scalecli.cli.output.formats import Column
from scalecli.costs import Batch
from scalecli.costs.hardware import (
    DEFAULT_CHIP,
    DEFAULT_CHIPS,
    KG_CO2E_PER_KWH,
    PRECISIONS,
    PUE,
    Machine,
    chips,
    energy_kwh,
)
from scalecli.costs.memory import OPTIMIZERS, Training, device_memory, fits, remedies
from scalecli.costs.roofline import ACCURACY, estimate
from scalecli.specs import ModelSpec

STEPS = 2**19  # of the papers' pretraining

RUN_COLUMNS = (
    Column("chip", "Chip"),
    Column("chips", "Chips", "float"),
    Column("replicas", "Replicas of the model", "float"),
    Column("model_parallel", "Devices a replica", "float"),
    Column("optimizer", "Optimizer"),
    Column("precision", "Precision"),
    Column("rematerialised", "Rematerialised"),
    Column("weights", "Memory a device: weights", "bytes"),
    Column("gradients", "  gradients", "bytes"),
    Column("optimizer_state", "  optimizer state", "bytes"),
    Column("activations", "  activations", "bytes"),
    Column("device_bytes", "  total", "bytes"),
    Column("device_memory", "  of", "bytes"),
    Column("fits", "Fits"),
    Column("fits_with", "Would fit with"),
    Column("steps_per_s", "Steps/s, estimated", "float"),
    Column("limit", "Most of a step"),
    Column("tokens_per_s", "Tokens/s", "count"),
    Column("peak_percent", "Training FLOPs, % of peak", "float"),
    Column("steps", "Steps", "float"),
    Column("tokens", "Tokens", "count"),
    Column("run_flops", "Training FLOPs of the run", "flops"),
    Column("hours", "Hours", "float"),
    Column("device_hours", "Device-hours (chips)", "float"),
    Column("kwh", "Energy, kWh", "float"),
    Column("kg_co2e", "CO2e, kg", "float"),
)
# Of several models people see what fits into a terminal.
RUN_NARROW = {
    **{"device_bytes": "Memory", "fits": "Fits", "steps_per_s": "Steps/s", "limit": "Most of a step"},
    **{"run_flops": "Run FLOPs", "hours": "Hours", "device_hours": "Device-h", "kwh": "kWh", "kg_co2e": "kg CO2e"},
}


@dataclass(frozen=True)
class PricedRun:
    """A training run on a machine, whatever the model. `pue`: see `energy_kwh`; `grid`: kg CO2e for each kWh."""

    machine: Machine
    training: Training
    steps: int = STEPS
    pue: float = PUE
    grid: float = KG_CO2E_PER_KWH


def _collect(options: dict[str, Any]) -> None:
    names = ("chip", "chips", "model_parallel", "steps", "optimizer", "rematerialise", "precision", "pue", "grid")
    given = {name: value for name in names if (value := options.pop(name)) is not None}
    options["run"] = run_from(given) if given else None


def run_from(given: dict[str, Any]) -> PricedRun:
    """The run that some options describe, by the names of `run_options`; the others are the papers'.

    As many chips as the papers had, 16, where their interconnect joins so many.

    Raises:
        ConfigurationError: an unknown chip, or a machine that can't be.
    """
    machine = Machine(given.get("chip", DEFAULT_CHIP), chips=1)
    count = given.get("chips", min(DEFAULT_CHIPS, machine.chip.joined_chips))
    machine = replace(machine, chips=count, model_parallel=given.get("model_parallel", 1))
    training = Training(
        optimizer=given.get("optimizer", Training.optimizer),
        precision=given.get("precision", machine.chip.precision),
        rematerialised=given.get("rematerialise", False),
    )
    settings = {name: given[name] for name in ("steps", "pue", "grid") if name in given}
    return PricedRun(machine, training, **settings)


def run_figures(spec: ModelSpec, batch: Batch, run: PricedRun) -> dict[str, Any]:
    """The values of `RUN_COLUMNS` for one model.

    Raises:
        ConfigurationError: the machine can't be for this model and batch (see `memory.device_memory`).
    """
    machine, training = run.machine, run.training
    memory = device_memory(spec, batch, machine, training)
    speed = estimate(spec, batch, machine, training)
    step_flops = sum(costs.flops(spec, batch, "training").values())
    seconds = run.steps / speed.steps_per_s
    kwh = energy_kwh(machine, seconds, run.pue)
    parts = asdict(memory)
    enough = fits(memory, machine)
    return {
        "chip": machine.name,
        "chips": machine.chips,
        "replicas": machine.replicas,
        "model_parallel": machine.model_parallel,
        **asdict(training),
        "weights": parts["weights"],
        "gradients": parts["gradients"],
        "optimizer_state": parts["optimizer"],
        "activations": parts["activations"],
        "device_bytes": memory.total,
        "device_memory": round(machine.device_memory_bytes),
        "fits": enough,
        "fits_with": None if enough else _alternatives(remedies(spec, batch, machine, training)),
        "steps_per_s": speed.steps_per_s,
        "limit": speed.limit,
        "tokens_per_s": round(batch.tokens * speed.steps_per_s),
        "peak_percent": 100 * step_flops * speed.steps_per_s / (machine.chips * machine.chip.flops(training.precision)),
        "steps": run.steps,
        "tokens": run.steps * batch.tokens,
        "run_flops": run.steps * step_flops,
        "hours": seconds / 3600,
        "device_hours": machine.chips * seconds / 3600,
        "kwh": kwh,
        "kg_co2e": kwh * run.grid,
    }


def run_notes(run: PricedRun) -> list[str]:
    """What is to be known about those figures: how good the estimate is, and what power and emissions rest on."""
    chip = run.machine.chip
    extrapolated = "" if run.machine.name == DEFAULT_CHIP else f", and on {run.machine.name} it is an extrapolation"
    return [
        f"Steps/s is an estimate, fitted to what both papers' own software did on {DEFAULT_CHIP}: of its "
        f"{ACCURACY.rows} published speeds {ACCURACY.within_25_percent} are met within 25%, the median error is "
        f"{ACCURACY.median_error:.0%} ({ACCURACY.left_out_median_error:.0%} for a speed that the fit has not "
        f"seen){extrapolated}.",
        f"Energy: {chip.watts:g} W for each {run.machine.name} ({chip.power}) x time x {run.pue:g} (PUE); CO2e: "
        f"{run.grid:g} kg/kWh.",
        *run.machine.warnings(),
    ]


def _alternatives(options: list[str]) -> str:
    return " or ".join(options) or "no single option"


def _complete_chip(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in chips() if name.startswith(incomplete.lower())]


_FACTOR = click.FloatRange(min=0, max=1000, min_open=True)
_OPTIONS: dict[str, dict[str, Any]] = {
    "--chip": {
        "metavar": "NAME",
        "shell_complete": _complete_chip,
        "help": f"Accelerator to train on, such as tpu-v3, tpu-v5e, a100-80, h100 or cpu. [default: {DEFAULT_CHIP}]",
    },
    "--chips": {
        "type": click.IntRange(1, LARGEST),
        "metavar": "N",
        "help": f"Number of accelerators. [default: {DEFAULT_CHIPS}, or as many as their interconnect joins]",
    },
    "--model-parallel": {
        "type": click.IntRange(1, LARGEST),
        "metavar": "N",
        "help": "Devices (TPU v2 and v3: cores, else chips) that share one replica of the model. [default: 1]",
    },
    "--steps": {
        "type": click.IntRange(1, 2**40),
        "metavar": "N",
        "help": f"Training steps. [default: {STEPS}, as the papers pretrained]",
    },
    "--optimizer": {
        "type": click.Choice(OPTIMIZERS),
        "help": f"Optimizer, whose state takes memory. [default: {OPTIMIZERS[0]}]",
    },
    "--rematerialise": {
        "is_flag": True,
        "default": None,
        "help": "Compute each layer's activations again in the backward pass; slower, but takes less memory.",
    },
    "--precision": {
        "type": click.Choice(PRECISIONS),
        "help": "Precision of matrix products and activations. [default: bfloat16; float32 on cpu]",
    },
    "--pue": {
        "type": _FACTOR,
        "callback": finite,
        "metavar": "X",
        "help": f"Power usage effectiveness: energy of the data center over that of its computers. [default: {PUE}, "
        "Google's in 2020]",
    },
    "--grid": {
        "type": _FACTOR,
        "callback": finite,
        "metavar": "KG",
        "help": f"Emissions of electricity, kg CO2e per kWh. [default: {KG_CO2E_PER_KWH}, the USA in 2020]",
    },
}
# They arrive as `run`, a `PricedRun`, or None without any.
run_options = option_group(
    *(click.option(flag, **settings) for flag, settings in _OPTIONS.items()),
    heading="Training run (any of these adds its memory, time and energy)",
    collect=_collect,
)
