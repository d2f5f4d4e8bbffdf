"""95% intervals: by Student's t, or of what was drawn."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # numpy takes a tenth of a second
    import numpy as np

LEVEL = 0.95


@dataclass(frozen=True)
class Interval:
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float


def students_t(freedom: int) -> float:
    """Half of the 95% interval of Student's t with `freedom` degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, (1 + LEVEL) / 2))


def middle_of(draws: np.ndarray) -> tuple[float, float]:
    """The ends of the middle 95% of `draws`, without those that are NaN."""
    import numpy as np

    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
