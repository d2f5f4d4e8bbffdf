"""Predicted figures as a table, beside measured ones where there are any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.statistics.predictions import Prediction, Target, estimated_cost, predict
from scalecli.cli.output.formats import FOR_PEOPLE
from scalecli.errors import UsageError
from scalecli.tables import Column, Table, humanise, keyed

_COLUMNS = (
    Column("group", "Of"),
    Column("model", "Model"),
    Column("cost", "Cost"),
    Column("at_text", "At"),
    Column("n", "n", "float"),
    Column("form", "On a"),
    Column("quality", "Quality"),
    Column("predicted", "Predicted", "float"),
    Column("interval", "95% interval"),
    Column("measured", "Measured", "float"),
)
_FOR_PROGRAMS = (
    *("group", "model", "cost", "at", "n", "form", "quality", "predicted", "low", "high", "measured", "reason"),
)
Asked = tuple[Sequence[str], Sequence[tuple[str, float]], "str | None"]


def prediction_table(
    rows: Sequence[Row], costs: Sequence[str], qualities: Sequence[str], asked: Asked, format: str
) -> Table:
    """What was asked for: names, costs with values, and what is held out.

    Raises:
        UsageError: a model that is held out is not there, or the cost of a named one is not known.
        ConfigurationError: a name of no shape.
    """
    names, values, held_out = asked
    scores = [quality for quality in qualities if quality != "upstream"] or _scores(rows)
    pairs: list[tuple[str, Prediction]] = []
    estimates: list[str] = []
    for cost in costs if names or held_out else ():
        asked_for = [_target(name, cost, rows) for name in names]
        targets = [target for target, _ in asked_for]
        estimates += [note for _, note in asked_for if note]
        pairs += [(cost, prediction) for prediction in predict(rows, cost, scores, targets, held_out)]
    for cost, value in values:
        target = Target(name="-", architecture=None, cost=value)
        pairs += [(cost, prediction) for prediction in predict(rows, cost, scores, [target])]
    if held_out not in (None, "largest") and held_out not in {prediction.model for _, prediction in pairs}:
        raise UsageError(f"--hold-out {held_out}: no model of that name has {' and '.join(costs)} and upstream")
    if format not in FOR_PEOPLE:
        return Table("predictions", "Predictions", [_cells(*pair) for pair in pairs], keyed(*_FOR_PROGRAMS))
    known = [pair for pair in pairs if pair[1].predicted is not None]
    return Table(
        "predictions", "Predictions", [_cells(*pair) for pair in known], _COLUMNS, notes=[*_notes(pairs), *estimates]
    )


def _scores(rows: Sequence[Row]) -> list[str]:
    return ["downstream"] if any(row.downstream is not None for row in rows) else []


def _target(name: str, cost: str, rows: Sequence[Row]) -> tuple[Target, str]:
    """A shape with its cost, as the comparison counts it, and what there is to say about that.

    Costs that depend on data and machine are those that models of its architecture had: on a line over FLOPs.

    Raises:
        UsageError: the cost is not known.
    """
    from scalecli.analysis.rows.shape_costs import flops_of, parameters_of
    from scalecli.references import resolve_model

    model = resolve_model(name)
    flops = flops_of(model.architecture, model.shape, rows[0].flops_convention) if rows else None
    value, note = float(flops or 0), ""
    if cost == "parameters":
        value = parameters_of(model.architecture, model.shape)
    elif not flops:
        raise UsageError(f"--predict {name}: it cannot have inputs of the length that FLOPs are counted for")
    elif cost != "flops":
        own = [row for row in rows if row.architecture == model.architecture]
        kinds = [row.measured_for("flops", cost) for row in own]
        alike = [row for row, kind in zip(own, kinds, strict=True) if kind == max(kinds, key=kinds.count)]
        estimate = estimated_cost(alike, cost, flops)
        if estimate is None:
            raise UsageError(
                f"--predict {name}: no two {model.architecture} models have both flops and {cost}; "
                f"--predict-at {cost}=VALUE takes any"
            )
        value, factor = estimate
        note = (
            f"{cost} of {model.name}: {value:.3g}, from a line over FLOPs (both in logarithms) through the "
            f"{model.architecture} models, which are within a factor of {factor:.3g} of it."
        )
    return Target(name=model.name, architecture=model.architecture, cost=value), note


def _cells(cost: str, prediction: Prediction) -> dict[str, Any]:
    return {
        **vars(prediction),
        "cost": cost,
        "at": prediction.cost,
        "at_text": humanise(prediction.cost, "flops" if "flops" in cost else "count"),
        "interval": None if prediction.low is None else f"{prediction.low:.4g} to {prediction.high:.4g}",
    }


def _notes(pairs: Sequence[tuple[str, Prediction]]) -> list[str]:
    """What is not predicted and why, how many measured figures are within their intervals, and what those are."""
    predictions = [prediction for _, prediction in pairs]
    lines = list(
        dict.fromkeys(
            f"no prediction: {own.group}: {own.model}: {own.quality} (n = {own.n}): {own.reason}"
            for own in predictions
            if own.reason
        )
    )
    if not pairs:
        lines.append("nothing to predict from: no models of that architecture have both cost and upstream")
    known = [own for own in predictions if own.predicted is not None]
    for quality in dict.fromkeys(own.quality for own in known if own.measured is not None):
        checked = [own for own in known if own.quality == quality and own.measured is not None]
        inside = sum(own.low <= own.measured <= own.high for own in checked)  # type: ignore[operator]
        lines.append(f"{quality}: {inside} of {len(checked)} measured figures are within the 95% prediction interval.")
    if outside := dict.fromkeys(own.model for own in known if not own.is_inside):
        lines.append(f"note: beyond the costs of all models that were fitted: {', '.join(outside)}")
    if known:
        lines.append(
            "Intervals are of a model's figure, as far as the form holds: lines by Student's t, power laws by a "
            "bootstrap over the models, scores with what is uncertain of the loss."
        )
    return lines
