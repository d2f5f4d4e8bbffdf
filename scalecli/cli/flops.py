"""`scalecli flops`: what each component of a model costs, by convention."""

from __future__ import annotations

from typing import Any

import click

from scalecli import costs
from scalecli.architectures import LARGEST, build_spec, named
from scalecli.cli.options.batch import batch_options, batch_text
from scalecli.cli.options.model import ModelCommand, model_options
from scalecli.cli.output.formats import Column, format_option, print_notes, print_table
from scalecli.costs import Convention
from scalecli.errors import UsageError
from scalecli.references import resolve_model

_COUNTED: dict[Convention, str] = {
    "forward": "twice the multiply-adds of one forward pass, without look-ups and products of one tensor with another",
    "training": "three times forward: one forward pass, and a backward pass that costs two",
    "paper": (
        "multiply-adds of one forward pass, not doubled, with look-ups as one-hot products and with products of one "
        "tensor with another"
    ),
}


@click.command("flops", cls=ModelCommand)
@model_options
@click.option(
    "--convention",
    type=click.Choice([*costs.CONVENTIONS, "all"]),
    default="forward",
    show_default=True,
    help="What to count; paper is what both papers print.",
)
@click.option(
    "--model-parallel",
    type=click.IntRange(1, LARGEST),
    metavar="N",
    help="Cores that share one replica of the model and repeat some of its work, which only paper counts; the papers "
    "had 2 for large, 8 for xl and 32 for xxl. [default: 1]",
)
@batch_options
@format_option
def command(
    model: str,
    architecture: str | None,
    operators: dict[str, Any],
    convention: Convention | str,
    model_parallel: int | None,
    lengths: dict[str, int],
    format: str,
) -> None:
    """Break the FLOPs of one batch, or of one image, down by component.

    MODEL is a name (small, small-nl24, NL24-SM, vit-s), a shape file, or a run's manifest or directory. Tokens are
    inputs and targets together. What training takes on a machine is in scalecli shape.
    """
    if model_parallel is not None and convention not in ("paper", "all"):
        raise UsageError("--model-parallel is counted by --convention paper alone")
    reference = resolve_model(model, architecture=architecture, operators=operators, reshape_runs=True)
    spec = build_spec(reference.architecture, reference.shape)
    chosen = [name for name in costs.CONVENTIONS if convention in (name, "all")]
    batches = {name: costs.batch_of(spec, name, **lengths) for name in chosen}
    counts = {name: _with_total(costs.flops(spec, batch, name, model_parallel or 1)) for name, batch in batches.items()}
    if convention == "all":
        rows, columns = _side_by_side(counts)
    else:
        rows, columns = _breakdown(counts[chosen[0]], batches[chosen[0]].tokens)
    print_table("components", rows, columns, format)
    notes = [
        f"{name}, {reference.name} ({reference.architecture}), {batch_text(spec, batch)}: {_COUNTED[name]}."
        for name, batch in batches.items()
    ]
    if "paper" in chosen and (note := named(reference.architecture).paper_note):
        notes.append(f"paper, {reference.architecture}: {note}.")
    print_notes(notes, format)


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
        if any(component in counted for counted in counts.values())
    ]
    return rows, [Column("component", "Component"), *(Column(name, name, "flops") for name in counts)]
