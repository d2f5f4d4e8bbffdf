"""Which models are worth their cost."""

from __future__ import annotations

from collections.abc import Sequence


def dominators(costs: Sequence[float], qualities: Sequence[float]) -> list[list[int]]:
    """For each model the models on the Pareto frontier that beat it; none for the frontier's own.

    A model beats another one that costs no less and is no better, and is strictly worse in one of the two; of two equal
    models neither does. Lower costs and higher qualities are better. Whatever is beaten at all is beaten by one on the
    frontier, so those alone are named, the cheapest first.

    Args:
        costs: one cost a model, in any unit, [models].
        qualities: the same models' qualities, [models].
    """
    points = list(zip(costs, qualities, strict=True))

    def beats(one: tuple[float, float], other: tuple[float, float]) -> bool:
        return one[0] <= other[0] and one[1] >= other[1] and one != other

    frontier = [index for index, point in enumerate(points) if not any(beats(other, point) for other in points)]
    frontier.sort(key=lambda index: points[index])
    return [[index for index in frontier if beats(points[index], point)] for point in points]
