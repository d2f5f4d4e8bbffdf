"""Which shape to train: the DeepNarrow recommendation, and what the papers published that speaks for a shape.

"Scale Efficiently" (section 4.3 and Table 4): grow a model's depth before its widths, starting from a smaller size, up
to 32 to 36 layers, where the returns diminish. Nothing here predicts quality: a shape stands on the published score of
its own, else of a model that is nowhere larger, else on none at all. Pure Python.
"""

from __future__ import annotations

import bisect
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from scalecli import costs
from scalecli.analysis.papers.published import PublishedModel, published_tables
from scalecli.analysis.rows.shape_costs import flops_of, parameters_of, spec_of
from scalecli.architectures import ARCHITECTURES, named
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training, device_memory
from scalecli.costs.roofline import estimate
from scalecli.errors import ConfigurationError
from scalecli.shape import Shape, apply_operators, parse_name, presets, shape_name

# More steps per second are better, of all others less is.
COSTS = ("parameters", "flops", "memory", "steps/s")
DEEPEST = 36
NEAR = 0.10  # published models whose parameters and FLOPs differ by no more than this are near

# Scores of different tables were finetuned in different ways, and are not comparable.
_EVIDENCE = {"transformer": "scale-efficiently/table-4"}
_EVIDENCE_OF_OTHERS = "architectures/table-1"
_DEPTH_OPERATORS = ("nl", "el")
_DIMENSIONS = ("encoder_layers", "decoder_layers", "d_model", "d_ff", "d_kv", "heads")


@dataclass(frozen=True)
class Setting:
    """What memory and speed are worked out for."""

    machine: Machine
    training: Training
    batch: costs.Batch


@dataclass(frozen=True)
class Candidate:
    """A shape with its costs by the names of `COSTS`, None where the machine cannot train it.

    `flops` are those of the convention `paper`, which published figures are of. `used` is the share of the tightest
    budget. `score` is the published mean of GLUE, SuperGLUE and SQuAD that the shape stands on, None without any, and
    `evidence` says whose that is.
    """

    name: str
    architecture: str
    shape: Shape
    costs: dict[str, float | None]
    used: float
    score: float | None
    evidence: str


@dataclass(frozen=True)
class PublishedAlternative:
    """A published model, or a cheaper one in its place: with `difference`, of their scores, and `change`.

    `costs` are as in `Candidate`, `score` is the mean of GLUE, SuperGLUE and SQuAD. `change` is that of the cost which
    is to be lower, -0.2 being 20% less.
    """

    model: PublishedModel
    costs: dict[str, float | None]
    score: float
    difference: float | None = None
    change: float | None = None


@dataclass(frozen=True)
class _Published:
    """A published score with the shape that has it."""

    model: PublishedModel
    shape: Shape
    score: float


def shape_cost(architecture: str, shape: Shape, cost: str, setting: Setting) -> float | None:
    """One of `COSTS` of a model; None where the setting's machine cannot train it."""
    if cost == "parameters":
        return parameters_of(architecture, shape)
    if cost == "flops":
        return flops_of(architecture, shape, "paper")
    spec = spec_of(architecture, shape)
    try:
        if cost == "memory":
            return device_memory(spec, setting.batch, setting.machine, setting.training).total
        return estimate(spec, setting.batch, setting.machine, setting.training).steps_per_s
    except ConfigurationError:
        return None


def shape_costs(architecture: str, shape: Shape, setting: Setting) -> dict[str, float | None]:
    """All of `COSTS` by their names."""
    return {cost: shape_cost(architecture, shape, cost, setting) for cost in COSTS}


def candidates(architecture: str, budgets: Mapping[str, float], setting: Setting) -> list[Candidate]:
    """Shapes that meet all budgets, best first: at most of each cost, at least of steps per second.

    Of each size itself and of its deeper shapes, with both stacks deeper and with the encoder alone, the deepest that
    the budgets allow; and every published shape that meets them. Those that stand on a higher published score come
    first, then those that use more of the budget.
    """
    return sorted(
        (_candidate(architecture, shape, budgets, setting) for shape in set(_shapes(architecture, budgets, setting))),
        key=lambda shape: (-math.inf if shape.score is None else shape.score, shape.used, shape.name),
        reverse=True,
    )


def published_alternatives(architecture: str, shape: Shape, cost: str, setting: Setting) -> list[PublishedAlternative]:
    """A published shape in each table that has it, each time before the models of that table that are cheaper.

    Those models score no lower, or the paper offers them instead. The former come first, then the cheaper ones; the
    answer is empty where no score of the shape is published.

    Raises:
        ConfigurationError: the cost is not known, because the machine cannot train the shape.
    """
    own = shape_costs(architecture, shape, setting)
    if own[cost] is None:
        estimate(spec_of(architecture, shape), setting.batch, setting.machine, setting.training)  # says why
    models = []
    for table in published_tables():
        rows = _published(table)
        for reference in rows:
            if (reference.model.architecture, reference.shape) == (architecture, shape):
                beside = (_beside(row, reference, own, cost, setting) for row in rows)
                models.append(PublishedAlternative(reference.model, own, reference.score))
                models += sorted((model for model in beside if model is not None), key=_rank)
    return models


def _beside(
    row: _Published, reference: _Published, own: dict[str, float | None], cost: str, setting: Setting
) -> PublishedAlternative | None:
    """A published model as an alternative to another one, or None if it is none."""
    theirs = shape_costs(row.model.architecture, row.shape, setting)
    before, after = own[cost], theirs[cost]
    difference = row.score - reference.score
    if before is None or after is None or (difference < 0 and row.model.instead_of != reference.model.name):
        return None
    if (after <= before) if cost == "steps/s" else (after >= before):
        return None
    return PublishedAlternative(row.model, theirs, row.score, difference, after / before - 1)


def _rank(alternative: PublishedAlternative) -> tuple[bool, float]:
    """Sorts what is no worse before what is, and then by how far the cost is from the reference's."""
    assert alternative.difference is not None and alternative.change is not None
    return alternative.difference < 0, -abs(alternative.change)


def nearest_published(architecture: str, shape: Shape) -> str:
    """What is published of the same architecture within 10% of a shape's parameters and FLOPs, or that nothing is."""

    def size(shape: Shape) -> tuple[float, float]:
        return parameters_of(architecture, shape), flops_of(architecture, shape, "paper") or math.inf

    def distance(row: _Published) -> float:
        return max(abs(theirs / own - 1) for theirs, own in zip(size(row.shape), size(shape), strict=True))

    nearest = min(_evidence(architecture), key=distance, default=None)
    if nearest is None or distance(nearest) > NEAR:
        return f"none published within {NEAR:.0%}"
    return f"within {NEAR:.0%}: {nearest.model.name} {nearest.score:.2f}"


@functools.cache
def _published(table: str) -> tuple[_Published, ...]:
    """The rows of a table that have a score and a shape of ours."""
    rows = []
    for model in published_tables()[table]:
        if model.architecture in ARCHITECTURES and model.downstream is not None:
            rows.append(_Published(model, parse_name(model.name, model.architecture), model.downstream))
    return tuple(rows)


def _evidence(architecture: str) -> list[_Published]:
    """The published models that shapes of one architecture stand on; all of one table."""
    table = _EVIDENCE.get(architecture, _EVIDENCE_OF_OTHERS)
    return [row for row in _published(table) if row.model.architecture == architecture]


def _shapes(architecture: str, budgets: Mapping[str, float], setting: Setting) -> Iterator[Shape]:
    """The shapes that are candidates; the same may come twice."""

    def meets(shape: Shape) -> bool:
        return _used({cost: shape_cost(architecture, shape, cost, setting) for cost in budgets}, budgets) <= 1

    for shape in [*presets(architecture).values(), *(row.shape for row in _evidence(architecture))]:
        if meets(shape):
            yield shape
    for size in presets(architecture).values():
        for operator in _DEPTH_OPERATORS:
            deeper = list(deeper_shapes(architecture, size, operator))
            # Every cost grows with depth, so those that meet the budgets are the first ones.
            allowed = bisect.bisect_left(deeper, True, key=lambda shape: not meets(shape))
            if allowed:
                yield deeper[allowed - 1]


def deeper_shapes(architecture: str, size: Shape, operator: str) -> Iterator[Shape]:
    """A size with more and more layers, as far as it is recommended."""
    for layers in range(size.encoder_layers + 1, DEEPEST // _layers_of_a_block(architecture, size) + 1):
        shape = apply_operators(size, {operator: layers}, architecture)
        try:
            spec_of(architecture, shape)
        except ConfigurationError:
            continue  # an odd number of layers, where they come in pairs
        yield shape


def _layers_of_a_block(architecture: str, size: Shape) -> int:
    """Layers of depth that one more in `encoder_layers` makes."""
    recurrence = spec_of(architecture, size).encoder.recurrence
    return recurrence.passes if recurrence else named(architecture).layers_per_block


def _used(costs: dict[str, float | None], budgets: Mapping[str, float]) -> float:
    """The share of the tightest budget that is used; more than 1 where one is not met."""
    shares = []
    for cost, limit in budgets.items():
        value = costs[cost]
        if value is None:
            return math.inf
        shares.append(limit / value if cost == "steps/s" else value / limit)
    return max(shares)


def _candidate(architecture: str, shape: Shape, budgets: Mapping[str, float], setting: Setting) -> Candidate:
    own_costs = shape_costs(architecture, shape, setting)
    name = shape_name(shape, architecture)
    rows = _evidence(architecture)
    own = [row for row in rows if row.shape == shape]
    contained = own or [row for row in rows if _contains(shape, row.shape)]
    best = max(contained, key=lambda row: row.score, default=None)
    evidence = nearest_published(architecture, shape)
    if own:
        evidence = "its own"
    elif best is not None:
        evidence = f"nowhere smaller than {best.model.name}; {evidence}"
    score = None if best is None else best.score
    return Candidate(name, architecture, shape, own_costs, _used(own_costs, budgets), score, evidence)


def _contains(shape: Shape, other: Shape) -> bool:
    """Whether a shape is nowhere smaller than another one that is otherwise the same."""
    own = {name: getattr(shape, name) for name in _DIMENSIONS}
    return all(size >= getattr(other, name) for name, size in own.items()) and replace(other, **own) == shape
