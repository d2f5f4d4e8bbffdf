"""`scalecli flops`: what each component of a model costs, by convention."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import click

from scalecli import costs
from scalecli.architectures import build_spec
from scalecli.cli.output import Column, format_option, print_table
from scalecli.cli.shape import batch_options, tokens
from scalecli.costs import Convention
from scalecli.references import model_options, resolve_model

_COUNTED: dict[Convention, str] = {
    "forward": "twice the multiply-adds of one forward pass, without embedding look-ups and elementwise products",
    "training": "three times forward: one forward pass, and a backward pass that costs two",
    "paper": (
        "multiply-adds of one forward pass, not doubled, with embedding look-ups as one-hot products and with "
        "elementwise products"
    ),
}


@click.command("flops")
@model_options
@click.option(
    "--convention",
    type=click.Choice([*costs.CONVENTIONS, "all"]),
    default="forward",
    show_default=True,
    help="What is counted; paper is what both papers print.",
)
@batch_options
@format_option
def command(
    model: str,
    architecture: str | None,
    operators: dict[str, int],
    convention: Convention | str,
    lengths: dict[str, int],
    format: str,
) -> None:
    """Break the FLOPs of one batch down by component.

    MODEL is a name (small, small-nl24, NL24-SM), a shape file, or a run's manifest or directory. Tokens are inputs and
    targets together.
    """
    reference = resolve_model(model, architecture=architecture, operators=operators, reshape_runs=True)
    spec = build_spec(reference.architecture, reference.shape)
    chosen = [name for name in costs.CONVENTIONS if convention in (name, "all")]
    batches = {name: replace(costs.BATCHES[name], **lengths) for name in chosen}
    counts = {name: _with_total(costs.flops(spec, batch, name)) for name, batch in batches.items()}
    if convention == "all":
        rows, columns = _side_by_side(counts)
    else:
        rows, columns = _breakdown(counts[chosen[0]], tokens(batches[chosen[0]]))
    print_table(rows, columns, format)
    is_for_people = format in ("table", "markdown")
    if format == "markdown":
        click.echo()
    for name, batch in batches.items():
        size = f"batch {batch.sequences} x {batch.inputs} inputs x {batch.targets} targets"
        note = f"{name}, {reference.name} ({reference.architecture}), {size}: {_COUNTED[name]}."
        click.echo(note, err=not is_for_people)


def _with_total(counts: dict[str, int]) -> dict[str, int]:
    return {**counts, "total": sum(counts.values())}


def _breakdown(counts: dict[str, int], batch_tokens: int) -> tuple[list[dict[str, Any]], list[Column]]:
    """One convention: FLOPs of the batch, percentage of the total, FLOPs per token."""
    rows = [
        {
            "component": component,
            "flops": count,
            "share_percent": 100 * count / counts["total"],
            "flops_per_token": round(count / batch_tokens),
        }
        for component, count in counts.items()
    ]
    return rows, [
        Column("component", "Component"),
        Column("flops", "FLOPs", "flops"),
        Column("share_percent", "Share %", "float"),
        Column("flops_per_token", "FLOPs per token", "flops"),
    ]


def _side_by_side(counts: dict[Convention, dict[str, int]]) -> tuple[list[dict[str, Any]], list[Column]]:
    """All conventions: FLOPs of each one's batch; what a convention does not count is empty."""
    rows = [
        {"component": component, **{name: counted.get(component) for name, counted in counts.items()}}
        for component in (*costs.COMPONENTS, "total")
    ]
    return rows, [Column("component", "Component"), *(Column(name, name, "flops") for name in counts)]
