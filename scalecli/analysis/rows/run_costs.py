"""What the models of a comparison cost to make: device-hours, energy and emissions. Pure Python."""

from __future__ import annotations

import re
from dataclasses import dataclass

from scalecli.analysis.papers.published import published_papers
from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.rows.fairness import trained_steps
from scalecli.costs.hardware import CORES_OF_CPU, DEFAULT_CHIP, KG_CO2E_PER_KWH, PUE, Machine, chips, energy_kwh
from scalecli.manifest import Manifest
from scalecli.times import parse_time


@dataclass(frozen=True)
class RunCost:
    """What one run took, without the runs that it was made from; None is not known.

    `devices` counts chips of the kind `chip`, or the cores of CPUs.
    """

    hours: float
    devices: int
    chip: str | None
    kwh: float | None

    @property
    def device_hours(self) -> float:
        """Hours of all devices together."""
        return self.hours * self.devices

    @property
    def kg_co2e(self) -> float | None:
        """Emissions of the energy, kg CO2e."""
        return None if self.kwh is None else self.kwh * KG_CO2E_PER_KWH


def cost_of(row: Row) -> RunCost | None:
    """The cost of a run or of the pretraining of a published model; None where no speed is known.

    A run's time is its steps at its steady speed, without validation; of an evaluation it is the time from start to
    end. The papers pretrained for as many steps as they print.
    """
    if row.run is not None:
        seconds, (chip, devices) = _seconds(row.run.manifest), _devices(row.run.manifest)
    else:
        setup = published_papers()["scale-efficiently"].setup
        chip, devices = DEFAULT_CHIP, row.chips or 0
        seconds = setup.pretraining.steps / row.steps_per_s if setup and row.steps_per_s and row.chips else None
    if seconds is None:
        return None
    units = devices / CORES_OF_CPU if chip == "cpu" else devices
    kwh = None if chip is None else units * energy_kwh(Machine(chip, chips=1), seconds)
    return RunCost(seconds / 3600, devices, chip, kwh)


def hours_of_devices(manifest: Manifest, steps: int) -> float | None:
    """The hours of all devices together in so many steps of a run at its steady speed; None where that is not known."""
    if not manifest.throughput or manifest.throughput.steps_per_s <= 0:
        return None
    return steps / manifest.throughput.steps_per_s * _devices(manifest)[1] / 3600


def chip_of(manifest: Manifest) -> str | None:
    """The kind of chip that a run used, as far as it is known."""
    return _devices(manifest)[0]


def cost_notes(costs: list[RunCost]) -> list[str]:
    """What energy and emissions rest on, for each kind of chip among the costs."""
    known = dict.fromkeys(cost.chip for cost in costs if cost.chip is not None)
    power = "; ".join(f"{name} {chips()[name].watts:g} W ({chips()[name].power})" for name in known)
    if not known:
        return []
    return [f"Energy: {power} x time x {PUE:g} (PUE); CO2e: {KG_CO2E_PER_KWH:g} kg/kWh."]


def _seconds(manifest: Manifest) -> float | None:
    if manifest.throughput and manifest.throughput.steps_per_s > 0:
        return trained_steps(manifest) / manifest.throughput.steps_per_s
    if manifest.kind == "eval" and manifest.finished:
        return max((parse_time(manifest.finished) - parse_time(manifest.created)).total_seconds(), 0.0)
    return None


def _devices(manifest: Manifest) -> tuple[str | None, int]:
    """The kind of chip that a run used and how many of it, as far as its manifest says."""
    devices = manifest.environment.devices
    accelerators = [device for device in devices if re.match(r"(GPU|TPU)\b", device)]
    if accelerators:
        return _chip(accelerators[0]), manifest.strategy.replicas
    cores = next((int(match[1]) for device in devices if (match := re.match(r"(\d+) cores", device))), CORES_OF_CPU)
    return "cpu", cores


def _chip(device: str) -> str | None:
    """The chip that a device's name speaks of, such as `GPU:0 NVIDIA H200`; of two that fit, the longer name."""
    words = set(re.split(r"[^a-z0-9]+", device.lower()))
    fitting = [name for name in chips() if all({part, f"{part}gb"} & words for part in name.split("-"))]
    return max(fitting, key=len, default=None)
