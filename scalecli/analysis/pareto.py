"""Which models are worth their cost."""

from __future__ import annotations

import math
from collections.abc import Sequence


def pareto_efficient(costs: Sequence[float | None], qualities: Sequence[float | None]) -> list[bool]:
    """Marks the models that no other model beats at its own cost: the Pareto frontier.

    A model is efficient unless another one costs no more and is no worse, and is strictly better in one of the two; of
    two equal models both are. Lower costs and higher qualities are better. A model that lacks one of the two figures
    (None or NaN) is never efficient and beats nobody.

    Args:
        costs: one cost a model, in any unit, [models].
        qualities: the same models' qualities, [models].
    """
    points = [_point(cost, quality) for cost, quality in zip(costs, qualities, strict=True)]
    known = [point for point in points if point]

    def is_beaten(point: tuple[float, float]) -> bool:
        return any(other[0] <= point[0] and other[1] >= point[1] and other != point for other in known)

    return [point is not None and not is_beaten(point) for point in points]


def _point(cost: float | None, quality: float | None) -> tuple[float, float] | None:
    if cost is None or quality is None or math.isnan(cost) or math.isnan(quality):
        return None
    return cost, quality
