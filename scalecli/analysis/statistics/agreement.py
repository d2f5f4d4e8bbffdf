"""Whether what is better upstream is better downstream too: slopes, rank correlations, and the pairs where it is not.

"Scale Efficiently", Table 3: of two models with as many parameters, the one with the better upstream figure has the
worse downstream one. "Scaling Laws vs Model Architectures", Table 2: the slope of downstream over upstream quality.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.statistics.fits import LineFit, NoFit, fit_lines
from scalecli.analysis.statistics.points import Point, points

UPSTREAM, DOWNSTREAM = "upstream", "downstream"


@dataclass(frozen=True, kw_only=True)
class Disagreement:
    """Two models of which the first is better upstream, by `upstream` nats, and worse downstream, by `downstream`."""

    better_upstream: Row
    better_downstream: Row
    upstream: float
    downstream: float


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How upstream and downstream agree over `n` models whose scores compare: those of one table, or all runs.

    `spearman` and `kendall` (tau-b) are rank correlations from -1 to 1, None of fewer than 3 models or where all are
    alike. `slopes` are those of the downstream score over the upstream figure, by architecture (alpha U,D).
    `disagreements` come with the clearest first.
    """

    group: str
    n: int
    spearman: float | None
    kendall: float | None
    slopes: list[LineFit | NoFit]
    pairs: int
    disagreements: list[Disagreement]


def agreements(rows: Sequence[Row]) -> list[Agreement]:
    """The agreement of each table that has models with both figures, and of runs on one text that saw as much of it."""
    kinds: dict[tuple[str, str, str], list[Point]] = {}
    for point in points(rows, UPSTREAM, DOWNSTREAM):
        row = point.row
        kinds.setdefault((row.origin, row.upstream_text or "", row.seen or "unknown data"), []).append(point)
    return [_agreement(_name(kind, list(kinds)), members) for kind, members in kinds.items() if len(members) > 1]


def _name(kind: tuple[str, str, str], kinds: Sequence[tuple[str, str, str]]) -> str:
    """The origin, with the text and the data where groups of that origin differ in them."""
    origin, *conditions = kind
    others = zip(*(other[1:] for other in kinds if other[0] == origin), strict=True)
    apart = [own for own, values in zip(conditions, others, strict=True) if len(set(values)) > 1]
    return f"{origin}: {', '.join(apart)}" if apart else origin


def _agreement(group: str, known: Sequence[Point]) -> Agreement:
    spearman, kendall = _rank_correlations(known)
    pairs = [(one, other) for index, one in enumerate(known) for other in known[:index]]
    return Agreement(
        group=group,
        n=len(known),
        spearman=spearman,
        kendall=kendall,
        slopes=fit_lines(known, UPSTREAM, DOWNSTREAM, is_log=False),
        pairs=len(pairs),
        disagreements=_disagreements(pairs),
    )


def _rank_correlations(known: Sequence[Point]) -> tuple[float | None, float | None]:
    """Spearman's, and Kendall's tau-b. In NumPy alone: all of scipy.stats takes half a second to be imported."""
    upstream, downstream = [point.cost for point in known], [point.quality for point in known]
    if len(known) < 3 or len(set(upstream)) == 1 or len(set(downstream)) == 1:
        return None, None
    above, better = (np.sign(np.subtract.outer(values, values)) for values in (upstream, downstream))
    # How many more a model is above than below is its rank, but for scale and shift; ties share one.
    return _correlation(above.sum(1), better.sum(1)), _correlation(above, better)


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Pearson's, of numbers whose means are 0."""
    return float((one * other).sum() / math.sqrt((one**2).sum() * (other**2).sum()))


def _disagreements(pairs: Sequence[tuple[Point, Point]]) -> list[Disagreement]:
    disagreements = []
    for pair in pairs:
        worse, better = sorted(pair, key=lambda point: point.cost)
        upstream, downstream = better.cost - worse.cost, worse.quality - better.quality
        if upstream > 0 and downstream > 0:
            disagreements.append(
                Disagreement(
                    better_upstream=better.row, better_downstream=worse.row, upstream=upstream, downstream=downstream
                )
            )
    # Nats and points of a score have no common unit: clear is what is clear in both.
    return sorted(disagreements, key=lambda pair: pair.upstream * pair.downstream, reverse=True)
