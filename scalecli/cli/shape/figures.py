"""The figures of shapes that `scalecli shape` prints: fields, parameters, FLOPs, memory, and what training takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from scalecli import costs
from scalecli.architectures import KNOBS, SHARED_FIELDS, build_spec
from scalecli.architectures.operators import operators
from scalecli.cli.options.machine import RUN_COLUMNS, RUN_NARROW, PricedRun, run_figures
from scalecli.cli.output.formats import FOR_PEOPLE, Column, print_record, print_table
from scalecli.errors import errors_at
from scalecli.references import ModelReference

_NAMES = (Column("name", "Name"), Column("architecture", "Architecture"))
_COSTS = (
    Column("parameters", "Parameters", "count"),
    Column("embedding_parameters", "  embedding", "count"),
    Column("non_embedding_parameters", "  the rest", "count"),
    Column("batch", "Batch, sequences", "float"),
    Column("inputs", "Inputs, tokens", "float"),
    Column("targets", "Targets, tokens", "float"),
    Column("forward_flops", "Forward FLOPs per batch", "flops"),
    Column("training_flops", "Training FLOPs per batch", "flops"),
    Column("forward_flops_per_token", "Forward FLOPs per token", "flops"),
    Column("training_flops_per_token", "Training FLOPs per token", "flops"),
    Column("weights_bytes", "Weights, float32", "bytes"),
    Column("adafactor_bytes", "Adafactor state, float32", "bytes"),
    *RUN_COLUMNS,
)
# Of several models people see what fits into a terminal: the fields by their operators, FLOPs of a batch; or, of runs,
# what they cost.
_NARROW_COSTS = {"parameters": "Params", "forward_flops": "Forward", "adafactor_bytes": "Adafactor"}
_RUN_COSTS = {"parameters": "Params", **RUN_NARROW}


def shape_figures(model: ModelReference, lengths: Mapping[str, int], run: PricedRun | None) -> dict[str, Any]:
    """Every value that is shown, by column; `lengths` are the fields of `Batch` that were asked for.

    Raises:
        ConfigurationError: the architecture does not take inputs of that length, or the machine cannot train the model.
    """
    spec = build_spec(model.architecture, model.shape)
    batch = costs.batch_of(spec, "forward", **lengths)
    total, embedding = spec.parameters(), spec.embedding_parameters()
    with errors_at(model.name):
        forward, training = (sum(costs.flops(spec, batch, name).values()) for name in ("forward", "training"))
        run_costs = {} if run is None else run_figures(spec, batch, run)
    return {
        "name": model.name,
        "architecture": model.architecture,
        **model.shape.to_dict(),
        "parameters": total,
        "embedding_parameters": embedding,
        "non_embedding_parameters": total - embedding,
        "batch": batch.sequences,
        "inputs": batch.inputs,
        "targets": batch.targets,
        "forward_flops": forward,
        "training_flops": training,
        "forward_flops_per_token": round(forward / batch.tokens),
        "training_flops_per_token": round(training / batch.tokens),
        "weights_bytes": costs.weights_bytes(spec),
        "adafactor_bytes": costs.adafactor_bytes(spec),
        **run_costs,
    }


def print_shapes(rows: Sequence[dict[str, Any]], format: str) -> None:
    """Prints the figures of several shapes, a row each; of none of them a column that no row has a value for."""
    columns = _filled(rows)
    if format in FOR_PEOPLE:
        mixed = {"architecture": "Architecture"} if len({row["architecture"] for row in rows}) > 1 else {}
        fields = {own.fields[0]: code.upper() for code, own in operators().items() if len(own.fields) == 1}
        costs_of = _RUN_COSTS if "chip" in rows[0] else {**fields, **_NARROW_COSTS}
        titles = {"name": "Name", **mixed, **costs_of}
        columns = [replace(column, title=titles[column.key]) for column in columns if column.key in titles]
    print_table("shapes", rows, columns, format)


def print_shape(row: dict[str, Any], format: str) -> None:
    """Prints the figures of one shape, with all digits of its parameters for people too: two may differ in the last."""
    columns = _filled([row])
    if format in FOR_PEOPLE:
        counts = [column.key for column in columns if column.key.endswith("parameters")]
        row = {**row, **{key: f"{row[key]:,}" for key in counts}}
        columns = [replace(column, kind="text") if column.key in counts else column for column in columns]
    print_record("shapes", row, columns, format)


def _filled(rows: Sequence[dict[str, Any]]) -> list[Column]:
    fields = [Column(name, name, "float") for name in (*SHARED_FIELDS, *KNOBS)]
    columns = (*_NAMES, *fields, *_COSTS)
    return [column for column in columns if any(row.get(column.key) is not None for row in rows)]
