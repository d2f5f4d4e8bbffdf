"""Accelerators: what a chip can do, how several are laid out for a run, and the energy they take. Pure Python."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal, get_args

from scalecli import shapes_directory, strict
from scalecli.errors import ConfigurationError, nearest

Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = get_args(Precision)
BYTES: dict[Precision, int] = {"bfloat16": 2, "float32": 4}

DEFAULT_CHIP = "tpu-v3"
DEFAULT_CHIPS = 16  # what both papers trained on
CORES_OF_CPU = 2  # that the chip `cpu` stands for

# Patterson et al. 2021, "Carbon Emissions and Large Neural Network Training": 1.10 is Google's data centers that year
# (Table 4), 0.429 the average of the grids of the USA (section 2.4). T5's own training saw 1.12 and 0.545.
PUE = 1.10
KG_CO2E_PER_KWH = 0.429

_JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, kw_only=True)
class Chip:
    """One accelerator by its maker's figures; shapes/hardware/chips.yaml says what each field is and where from.

    Rates are per second and of the whole chip: FLOP/s (two for a multiply-add), bytes/s. `power` says what `watts` is.
    """

    bfloat16_flops: float | None
    float32_flops: float
    devices: int
    memory_bytes: float
    memory_bytes_per_s: float
    interconnect_bytes_per_s: float
    joined_chips: int
    watts: float
    power: str

    @property
    def precision(self) -> Precision:
        """What models are computed in, where nobody says otherwise."""
        return "float32" if self.bfloat16_flops is None else "bfloat16"

    def flops(self, precision: Precision) -> float:
        """Peak FLOP/s of matrix products.

        Raises:
            ConfigurationError: the chip is not to be used with that precision.
        """
        peak = {"bfloat16": self.bfloat16_flops, "float32": self.float32_flops}[precision]
        if peak is None:
            raise ConfigurationError(f"this chip is slower in {precision} than in float32; use --precision float32")
        return peak


@functools.cache
def chips() -> dict[str, Chip]:
    """Every chip by its name."""
    path = shapes_directory() / "hardware" / "chips.yaml"
    return {name: strict.from_mapping(Chip, chip, f"{path}: {name}") for name, chip in strict.load_yaml(path).items()}


@dataclass(frozen=True)
class Machine:
    """Chips that train one model together: replicas of it (data parallel), each split over `model_parallel` devices.

    Raises:
        ConfigurationError: no such chip, no chips, chips that nothing joins, or devices that do not divide into
            replicas.
    """

    name: str = DEFAULT_CHIP
    chips: int = DEFAULT_CHIPS
    model_parallel: int = 1

    def __post_init__(self) -> None:
        if self.name not in chips():
            lower = self.name.lower()
            hint = nearest(lower, chips()) or nearest(f"tpu-{lower}", chips())
            raise ConfigurationError(f"no chip {self.name!r}; there are {', '.join(chips())}{hint}")
        if self.chips < 1 or self.model_parallel < 1:
            raise ConfigurationError("--chips and --model-parallel are whole numbers from 1")
        if self.chips > 1 and not self.chip.interconnect_bytes_per_s:
            raise ConfigurationError(f"--chips {self.chips}: {self.name} has no interconnect; --chips 1 is accepted")
        if self.devices % self.model_parallel:
            raise ConfigurationError(
                f"--model-parallel {self.model_parallel} does not divide the {self.devices} devices of {self.chips} "
                f"{self.name}; {', '.join(map(str, self._divisors()))} are accepted"
            )

    def _divisors(self) -> list[int]:
        return [number for number in range(1, self.devices + 1) if self.devices % number == 0]

    @property
    def chip(self) -> Chip:
        """The kind of chip."""
        return chips()[self.name]

    @property
    def devices(self) -> int:
        """Programs that run at once: cores of TPU v2 and v3, chips otherwise."""
        return self.chips * self.chip.devices

    @property
    def replicas(self) -> int:
        """Copies of the model, each with a share of the batch."""
        return self.devices // self.model_parallel

    @property
    def device_memory_bytes(self) -> float:
        """Memory of one device."""
        return self.chip.memory_bytes / self.chip.devices

    def sequences_per_replica(self, sequences: int) -> int:
        """One replica's share of a batch.

        Raises:
            ConfigurationError: the batch does not divide into equal shares, which static shapes need.
        """
        if sequences % self.replicas:
            raise ConfigurationError(
                f"--batch {sequences} does not divide into {self.replicas} equal shares, one a replica "
                f"({self.devices} devices / --model-parallel {self.model_parallel}); "
                f"a multiple of {self.replicas}, fewer chips or more model parallelism is accepted"
            )
        return sequences // self.replicas

    def warnings(self) -> list[str]:
        """What the figures of this machine leave out."""
        if self.chips <= self.chip.joined_chips:
            return []
        return [f"{self.name} are joined {self.chip.joined_chips} at most; what lies between is slower than assumed"]


def energy_kwh(machine: Machine, seconds: float, pue: float = PUE) -> float:
    """Energy in kWh: power of the chips x time x the data center's overhead (power usage effectiveness)."""
    return machine.chips * machine.chip.watts * seconds * pue / _JOULES_PER_KWH
