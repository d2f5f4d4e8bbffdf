"""How groups and sizes look: colors that the color-blind tell apart, and a shape for each group besides.

The colors are those of Okabe and Ito, "Color Universal Design" (2008), the darker ones first.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_COLORS = (
    *(("#0072B2", "#0072B2"), ("#D55E00", "#BF5400"), ("#009E73", "#008661"), ("#CC79A7", "#A46086")),
    *(("#E69F00", "#9E6C00"), ("#56B4E9", "#397BA0"), ("#000000", "#000000"), ("#F0E442", "#7E7720")),
)
# A marker's letter in matplotlib, and its size beside a circle that looks as large.
_MARKERS = (
    *(("o", 1.0), ("s", 0.92), ("^", 1.1), ("D", 0.85), ("v", 1.1), ("P", 1.1), (">", 1.1), ("X", 1.1), ("<", 1.1)),
    *(("p", 1.1), ("*", 1.4), ("h", 1.1), ("d", 1.1)),
)


@dataclass(frozen=True)
class Style:
    """A group's color, that of texts about it, and its marker for matplotlib with that marker's relative size.

    Texts are as dark as reading on white takes, a contrast of 4.5 (WCAG 2.1, 1.4.3).
    """

    color: str
    ink: str
    marker: str
    relative_size: float


def styles(groups: Sequence[str]) -> dict[str, Style]:
    """A style for each group: no two of the first 104 are the same, as 8 and 13 have no divisor in common."""
    return {
        group: Style(*_COLORS[index % len(_COLORS)], *_MARKERS[index % len(_MARKERS)])
        for index, group in enumerate(groups)
    }


class Sizes:
    """Diameters of marks, in points: by the logarithm of parameters, between those of the smallest and the largest."""

    SMALLEST, LARGEST, UNKNOWN = 4.5, 10.0, 6.0

    def __init__(self, parameters: Iterable[int | None]) -> None:
        known = [count for count in parameters if count]
        self._low, self._high = (math.log10(min(known)), math.log10(max(known))) if known else (0.0, 0.0)

    def diameter(self, parameters: int | None) -> float:
        """The diameter of a model's mark; one for all where sizes are not known or hardly differ."""
        if not parameters or not self.differ:
            return self.UNKNOWN
        share = (math.log10(parameters) - self._low) / (self._high - self._low)
        return self.SMALLEST + share * (self.LARGEST - self.SMALLEST)

    @property
    def differ(self) -> bool:
        """Whether the largest model has at least twice the parameters of the smallest."""
        return self._high - self._low >= math.log10(2)

    def examples(self) -> list[int]:
        """Numbers of parameters for the legend: round ones between the smallest and the largest, else these two."""
        powers = range(math.floor(self._low), math.ceil(self._high) + 1)
        for digits in ((1,), (1, 3)):
            values = [digit * 10**power for power in powers for digit in digits]
            inside = [value for value in values if self._low <= math.log10(value) <= self._high]
            if len(inside) > 1:
                return inside[:: math.ceil(len(inside) / 5)]
        return [round(10**self._low), round(10**self._high)]
