"""`scalecli shape`: the fields of a shape, and what it costs."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any

import click

from scalecli import costs, strict
from scalecli.architectures import DEFAULT_ARCHITECTURE, build_spec
from scalecli.cli.output import Column, format_option, print_record, print_table
from scalecli.costs import Batch
from scalecli.errors import UsageError
from scalecli.references import ModelReference, complete_model, resolve_model, shape_options
from scalecli.shape import LARGEST, Shape, presets
from scalecli.specs import VOCABULARY_ROWS

_COLUMNS = (
    Column("name", "Name"),
    Column("architecture", "Architecture"),
    *(Column(field.name, field.name, "float") for field in fields(Shape)),
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
)
# Of several models people see what fits into a terminal: the fields by the papers' operators, FLOPs of a batch.
_NARROW = {
    **{"name": "Name", "encoder_layers": "EL", "decoder_layers": "DL", "d_model": "DM", "d_ff": "FF", "d_kv": "KV"},
    **{"heads": "NH", "parameters": "Params", "forward_flops": "Forward", "adafactor_bytes": "Adafactor"},
}


def batch_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--batch --inputs --targets`; what is given arrives as `lengths`, by the names of `Batch`'s fields."""

    @functools.wraps(function)
    def collected(*arguments: Any, batch: int | None, inputs: int | None, targets: int | None, **options: Any) -> Any:
        values = {"sequences": batch, "inputs": inputs, "targets": targets}
        lengths = {name: value for name, value in values.items() if value is not None}
        return function(*arguments, lengths=lengths, **options)

    command = collected
    paper = costs.BATCHES["paper"].targets
    for flag, text in (
        ("--targets", f"Tokens of a target. [default: {Batch.targets}; {paper} in flops --convention paper]"),
        ("--inputs", f"Tokens of an input. [default: {Batch.inputs}]"),
        ("--batch", f"Sequences of a batch. [default: {Batch.sequences}]"),
    ):
        command = click.option(flag, type=click.IntRange(1, LARGEST), metavar="N", help=text)(command)
    return command


def tokens(batch: Batch) -> int:
    """Tokens of a batch, inputs and targets together: what "per token" divides by."""
    return batch.sequences * (batch.inputs + batch.targets)


@click.command("shape")
@click.argument("models", nargs=-1, metavar="[MODEL]...", shell_complete=complete_model)
@shape_options
@batch_options
@click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write the shape of one MODEL as YAML.")
@format_option
def command(
    models: tuple[str, ...],
    architecture: str | None,
    operators: dict[str, int],
    lengths: dict[str, int],
    output: str | None,
    format: str,
) -> None:
    """Show the fields of a shape, its parameters, FLOPs and memory.

    MODEL is a name (small, small-nl24, NL24-SM, t5-efficient-small-nl24), a shape file, or a run's manifest or
    directory; --nl and the like change it. Several MODELs make one row each; without MODEL, all sizes of the
    architecture. FLOPs are those of the convention `forward` (see scalecli flops); tokens are inputs and targets
    together.
    """
    references = [
        resolve_model(model, architecture=architecture, operators=operators, reshape_runs=True)
        for model in models or presets(architecture or DEFAULT_ARCHITECTURE)
    ]
    batch = replace(Batch(), **lengths)
    rows = [_figures(reference, batch) for reference in references]
    if output is not None:
        _write(references, output)
    for reference in references:
        _warn(reference)
    if len(models) == 1:
        _print_one(rows[0], format)
    elif format in ("table", "markdown"):
        mixed = len({reference.architecture for reference in references}) > 1
        titles = {**_NARROW, **({"architecture": "Architecture"} if mixed else {})}
        columns = [replace(column, title=titles[column.key]) for column in _COLUMNS if column.key in titles]
        print_table(rows, columns, format)
    else:
        print_table(rows, _COLUMNS, format)


def _figures(model: ModelReference, batch: Batch) -> dict[str, Any]:
    """Every value that is shown, by column."""
    spec = build_spec(model.architecture, model.shape)
    total, embedding = spec.parameters(), spec.embedding_parameters()
    forward, training = (sum(costs.flops(spec, batch, name).values()) for name in ("forward", "training"))
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
        "forward_flops_per_token": round(forward / tokens(batch)),
        "training_flops_per_token": round(training / tokens(batch)),
        "weights_bytes": costs.weights_bytes(spec),
        "adafactor_bytes": costs.adafactor_bytes(spec),
    }


def _print_one(row: dict[str, Any], format: str) -> None:
    """One model, with all digits of its parameters for people too: two models may differ in the last."""
    columns: Sequence[Column] = _COLUMNS
    if format in ("table", "markdown"):
        counts = [column.key for column in columns if column.kind == "count"]
        row = {**row, **{key: f"{row[key]:,}" for key in counts}}
        columns = [replace(column, kind="text") if column.key in counts else column for column in columns]
    print_record(row, columns, format)


def _write(references: Sequence[ModelReference], output: str) -> None:
    if len(references) != 1:
        raise UsageError(f"-o {output} writes the shape of one MODEL; there are {len(references)}")
    (reference,) = references
    fields = reference.shape.to_dict()
    if not reference.states_vocabulary and fields["vocabulary"] == VOCABULARY_ROWS:
        del fields["vocabulary"]  # a shape file that states it keeps it, whatever the vocabulary
    strict.write_yaml(output, {"architecture": reference.architecture, **fields})
    click.echo(f"wrote {output}", err=True)


def _warn(reference: ModelReference) -> None:
    """Says where a TPU would pad: its tiles are 8 x 128, and the vocabulary is the widest matrix product."""
    multiples = {"d_model": 8, "vocabulary": 128}
    odd = [
        f"{name} {getattr(reference.shape, name)} is no multiple of {multiple}"
        for name, multiple in multiples.items()
        if getattr(reference.shape, name) % multiple
    ]
    if odd:
        click.echo(f"warning: {reference.name}: {' and '.join(odd)}; a TPU pads it and wastes lanes", err=True)
