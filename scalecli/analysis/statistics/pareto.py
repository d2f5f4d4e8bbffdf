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

    frontier: list[int] = []
    # Whatever beats a model comes before it, and whatever is beaten at all is by the last of the frontier until there.
    for index in sorted(range(len(points)), key=lambda index: (points[index][0], -points[index][1])):
        if not frontier or not beats(points[frontier[-1]], points[index]):
            frontier.append(index)
    return [[index for index in frontier if beats(points[index], point)] for point in points]
