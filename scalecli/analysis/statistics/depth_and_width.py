"""Whether depth beats width at equal cost ("Scale Efficiently", section 4.3), tested on the runs of a comparison.

quality = a + b log10(cost) + gain log2(depth), by least squares over all runs: at equal cost, deeper is narrower.
The noise is that of seeds, where shapes were trained with several, else how far the models are from the plane.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from scalecli.analysis.rows.comparison import Row, lower_is_better
from scalecli.analysis.statistics.intervals import LEVEL, students_t
from scalecli.analysis.statistics.points import Point, groups, measured_alike, points, shape_of
from scalecli.shape import Shape

_PARAMETERS = 3
_SHAPES = _PARAMETERS + 2  # without seeds: two more than parameters, as of a line
_FREEDOM = 2  # seeds beyond the first of a shape, over all shapes
_TOO_ALIKE = 1e-3  # what is left of log2(depth) beside log10(cost), of its own spread or of 1


@dataclass(frozen=True, kw_only=True)
class DepthTest:
    """What twice the depth brings at equal cost, in units of the quality, more being better; or the reason why not.

    `low` and `high` are its 95% interval. `noise` is where that comes from; `is_bent` says that shapes are further from
    the plane than seeds explain.
    """

    group: str
    cost: str
    quality: str
    shapes: int
    runs: int
    noise: Literal["seeds", "models"]
    gain: float | None = None
    low: float | None = None
    high: float | None = None
    is_bent: bool = False
    reason: str | None = None

    @property
    def verdict(self) -> str:
        """What the runs say."""
        if self.low is None or self.high is None:
            return "not tested"
        if self.low > 0:
            return "depth beats width"
        return "width beats depth" if self.high < 0 else "the runs can't tell"


def depth_tests(rows: Sequence[Row], cost: str, quality: str) -> list[DepthTest]:
    """The test of each group of models that were trained and measured alike."""
    return [_test(group, members, cost, quality) for group, members in groups(points(rows, cost, quality)).items()]


def _test(group: str, members: Sequence[Point], cost: str, quality: str) -> DepthTest:
    shaped = [(point, shape) for point in measured_alike(members) if (shape := shape_of(point.row)) is not None]
    cells: dict[Shape, list[Point]] = {}
    for point, shape in shaped:
        cells.setdefault(shape, []).append(point)
    within = sum(statistics.pvariance([point.quality for point in cell]) * len(cell) for cell in cells.values())
    if not within:  # figures that are equal to the last digit are copies, not seeds
        shaped = [(cell[0], shape) for shape, cell in cells.items()]
    test = DepthTest(
        group=group,
        cost=cost,
        quality=quality,
        shapes=len(cells),
        runs=len(shaped),
        noise="seeds" if len(shaped) - len(cells) >= _FREEDOM else "models",
    )
    needed = _PARAMETERS if test.noise == "seeds" else _SHAPES
    if len(cells) < needed:
        return replace(test, reason=f"it needs {_SHAPES} shapes, or {_PARAMETERS} of which some have several seeds")
    if min(point.cost for point, _ in shaped) <= 0:
        return replace(test, reason=f"{cost} is not above 0 everywhere")
    return _plane(test, shaped, within)


def _plane(test: DepthTest, shaped: Sequence[tuple[Point, Shape]], within: float) -> DepthTest:
    """The test with its figures; `within` is the sum of squared deviations from the means of shapes."""
    import numpy as np
    from scipy.special import fdtrc

    sign, dear = (-1 if lower_is_better(test.quality) else 1), (1 if lower_is_better(test.cost) else -1)
    costs = np.array([dear * math.log10(point.cost) for point, _ in shaped])
    depths = np.array([math.log2(shape.encoder_layers + shape.decoder_layers) for _, shape in shaped])
    # Less the first of them, so that equal ones have no gain, not even one by rounding.
    qualities = sign * np.array([point.quality - shaped[0][0].quality for point, _ in shaped])
    # What of the depth the cost does not say: its slope is that of the plane (Frisch and Waugh).
    beside = np.stack([np.ones_like(costs), costs], axis=1)
    rest = depths - beside @ np.linalg.lstsq(beside, depths, rcond=None)[0]
    if np.linalg.norm(rest) <= _TOO_ALIKE * max(float(np.linalg.norm(depths - depths.mean())), 1.0):
        return replace(test, reason=f"depth does not vary at equal {test.cost}")
    plane = np.column_stack([beside, depths])
    deviations = qualities - plane @ np.linalg.lstsq(plane, qualities, rcond=None)[0]
    gain = float(rest @ qualities / (rest @ rest))
    misfit, freedom = float(deviations @ deviations), len(shaped) - _PARAMETERS
    is_bent = False
    if test.noise == "seeds":
        lack, left = misfit - within, test.shapes - _PARAMETERS
        misfit, freedom = within, test.runs - test.shapes
        is_bent = bool(left and fdtrc(left, freedom, max(lack / left / (within / freedom), 0.0)) < 1 - LEVEL)
    margin = students_t(freedom) * math.sqrt(misfit / freedom / float(rest @ rest))
    return replace(test, gain=gain, low=gain - margin, high=gain + margin, is_bent=is_bent)
