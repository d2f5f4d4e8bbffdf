"""What a comparison's own points say for models that are deeper and narrower than others, and which to train next.

"Scale Efficiently", section 4.3: instead of the next larger size take a smaller one and add layers, up to 32 to 36 of
them. Nothing here predicts quality: what is suggested for training is so by its cost alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter

from scalecli.analysis.advice.shapes import deeper_shapes
from scalecli.analysis.rows.comparison import Row, dominating_rows, lower_is_better
from scalecli.analysis.rows.shape_costs import batch_for, flops_of, parameters_of
from scalecli.analysis.statistics.points import points, shape_of
from scalecli.shape import Shape, shape_name

COMPUTED_COSTS = ("flops", "parameters")  # known of what nobody trained

_DEPTHS = ("encoder_layers", "decoder_layers")
_WIDTHS = ("d_model", "d_ff", "d_kv", "heads")


@dataclass(frozen=True, kw_only=True)
class Alternative:
    """A model that is deeper and narrower than another one and costs less.

    `change` is that of the cost, -0.2 being 20% less (of a speed: 0.2 being 20% more), `difference` that of the
    quality, None where the model is not trained yet.
    """

    model: str
    architecture: str
    instead_of: str
    cost: float
    change: float
    difference: float | None = None


def alternatives(rows: Sequence[Row], cost: str, quality: str) -> list[Alternative]:
    """The deeper and narrower alternatives to each model in the columns `cost` and `quality`.

    Those among the rows that cost less and are no worse, the cheapest first. To a model on the Pareto frontier that has
    none of them, the one to train next: as narrow as the widest narrower model, with as many layers as cost less. There
    are such for `COMPUTED_COSTS` alone.
    """
    trained = [(row, shape) for row in rows if (shape := shape_of(row)) is not None]
    known = [point.row for point in points(rows, cost, quality)]
    are_known = set(map(id, known))
    shapes = [(row, shape) for row, shape in trained if id(row) in are_known]
    beaten_by = dict(zip(map(id, known), dominating_rows(known, cost, quality), strict=True))
    narrower_than = _narrower_than(shapes)
    measured = {id(row): row.measured_for(cost, quality) for row in known}
    deeper = []
    for wide, shape in shapes:
        narrower = narrower_than[wide.architecture, shape]
        measured_alike = [(row, other) for row, other in narrower if measured[id(row)] == measured[id(wide)]]
        better = list(_trained(wide, shape, measured_alike, cost, quality))
        deeper += sorted(better, key=lambda deep: deep.change * (1 if lower_is_better(cost) else -1))
        if not better and beaten_by[id(wide)] == [] and cost in COMPUTED_COSTS:
            known_shapes = [other for row, other in trained if row.architecture == wide.architecture]
            deeper += _to_train(wide, shape, [other for _, other in narrower], known_shapes, cost)
    return deeper


def _narrower_than(
    shapes: Sequence[tuple[Row, Shape]],
) -> dict[tuple[str, Shape], list[tuple[Row, Shape]]]:
    """The models that are narrower than each shape of an architecture, and but for their depth otherwise the same."""
    alike: dict[tuple[str, tuple], list[tuple[Row, Shape]]] = {}
    for row, shape in shapes:
        alike.setdefault((row.architecture, shape.without((*_WIDTHS, *_DEPTHS))), []).append((row, shape))
    return {
        (architecture, shape): [pair for pair in members if _is_narrower(pair[1], shape)]
        for (architecture, _), members in alike.items()
        for shape in {shape for _, shape in members}
    }


def _is_narrower(shape: Shape, other: Shape) -> bool:
    """Whether a shape is narrower somewhere and wider nowhere."""
    own, others = _widths(shape), _widths(other)
    return own != others and all(width <= wider for width, wider in zip(own, others, strict=True))


_widths: Callable[[Shape], tuple[int, ...]] = attrgetter(*_WIDTHS)


def _depth(shape: Shape) -> int:
    return shape.encoder_layers + shape.decoder_layers


def _trained(
    wide: Row, shape: Shape, narrower: Sequence[tuple[Row, Shape]], cost: str, quality: str
) -> Iterator[Alternative]:
    """The narrower models that are deeper, cheaper and no worse, of those that were trained and measured alike."""
    cost_sign, quality_sign = (1 if lower_is_better(cost) else -1), (-1 if lower_is_better(quality) else 1)
    for deep, other in narrower:
        if _depth(other) <= _depth(shape):
            continue
        value, figure = deep.value(cost), deep.value(quality)
        change, difference = value / wide.value(cost) - 1, figure - wide.value(quality)
        if cost_sign * change < 0 <= quality_sign * difference:
            yield Alternative(
                model=deep.name,
                architecture=deep.architecture,
                instead_of=wide.name,
                cost=value,
                change=change,
                difference=difference,
            )


def _to_train(
    wide: Row, shape: Shape, narrower: Sequence[Shape], known: Sequence[Shape], cost: str
) -> list[Alternative]:
    """The deepest model as narrow as the widest of the narrower ones that costs less; none if it is trained already."""
    if not narrower:
        return []
    start = max(narrower, key=lambda other: (*_widths(other), -_depth(other)))
    cheaper = [
        (deep, value)
        for deep in deeper_shapes(wide.architecture, start, "nl")
        if (value := _cost_of(deep, wide, cost)) is not None and value < wide.value(cost)
    ]
    if not cheaper or cheaper[-1][0] in known or _depth(cheaper[-1][0]) <= _depth(shape):
        return []
    deepest, value = cheaper[-1]
    return [
        Alternative(
            model=shape_name(deepest, wide.architecture),
            architecture=wide.architecture,
            instead_of=wide.name,
            cost=value,
            change=value / wide.value(cost) - 1,
        )
    ]


def _cost_of(shape: Shape, like: Row, cost: str) -> float | None:
    """A shape's parameters or FLOPs, of the convention and as many sequences as another row's; None if it has none."""
    if cost == "parameters":
        return parameters_of(like.architecture, shape)
    batch = batch_for(like.architecture, shape, like.flops_convention, like.flops_sequences)
    return flops_of(like.architecture, shape, like.flops_convention, batch)
