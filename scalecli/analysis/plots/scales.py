"""From values to positions along an axis: its range, its ticks and their texts."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from scalecli.analysis.plots.figure import Axis, Panel
from scalecli.tables import Kind, humanise

MINUS = "\N{MINUS SIGN}"
_MARGIN = 0.06  # of the range, left free at both ends
# Leading digits of ticks on a logarithmic axis, from few to many.
_DIGITS = ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7), tuple(tenths / 10 for tenths in range(10, 100)))


@dataclass(frozen=True)
class Scale:
    """An axis from `low` to `high`, both within reach of the values on it."""

    low: float
    high: float
    is_log: bool

    def position(self, value: float) -> float:
        """Where a value lies: 0 at `low`, 1 at `high`."""
        low, high, value = (math.log10(end) if self.is_log else end for end in (self.low, self.high, value))
        return (value - low) / (high - low)

    def ticks(self, most: int) -> list[float]:
        """At most `most` round values on the axis, where it is possible at least two."""
        if not self.is_log:
            return _linear_ticks(self.low, self.high, most)
        powers = [
            10.0**power for power in range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        ]
        inside = [power for power in powers if self.low <= power <= self.high]
        ticks = inside[:: max(1, math.ceil(len(inside) / most))]
        for digits in _DIGITS if ticks == inside else ():
            more = [tick for power in powers for digit in digits if self.low <= (tick := digit * power) <= self.high]
            if len(more) > most:
                break
            ticks = more
        return ticks if len(ticks) > 1 else _linear_ticks(self.low, self.high, most)


def scales(panel: Panel) -> tuple[Scale, Scale]:
    """The scales of a panel's axes, wide enough for all its models and a margin; fits may leave them."""
    return (
        _scale([mark.x for mark in panel.marks], panel.x.is_log),
        _scale([mark.y for mark in panel.marks], panel.y.is_log),
    )


def _scale(values: Sequence[float], is_log: bool) -> Scale:
    low, high = min(values), max(values)
    if is_log:
        margin = (high / low) ** _MARGIN if high > low else 1.5
        return Scale(low / margin, high * margin, True)
    margin = (high - low) * _MARGIN or abs(high) * 0.1 or 1.0
    return Scale(low - margin, high + margin, False)


def _linear_ticks(low: float, high: float, most: int) -> list[float]:
    least = (high - low) / most
    power = 10.0 ** math.floor(math.log10(least))
    step = next(power * digit for digit in (1, 2, 2.5, 5, 10) if power * digit >= least)
    return [round(index * step, 12) for index in range(math.ceil(low / step), math.floor(high / step) + 1)]


def tick_texts(ticks: Sequence[float], axis: Axis) -> list[str]:
    """Ticks as people write them: `10T` and `200M`, or `-2.00` and `-1.75`, with as many decimals each."""
    if axis.kind != "float" or axis.is_log or max(map(abs, ticks), default=0) >= 1e6:
        return [round_text(tick, axis.kind) for tick in ticks]
    decimals = max((len(f"{tick:.9f}".rstrip("0").partition(".")[2]) for tick in ticks), default=0)
    return [f"{tick:.{decimals}f}".replace("-", MINUS) for tick in ticks]


def round_text(value: float, kind: Kind) -> str:
    """A round number without digits that say nothing: `10T`, `0.5`."""
    text = humanise(float(value), kind)
    return re.sub(r"\.?0+(?=\D*$)", "", text) if "." in text else text
