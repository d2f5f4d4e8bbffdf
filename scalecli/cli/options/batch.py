"""The options that say how much goes through a model at once."""

from __future__ import annotations

from typing import Any

import click

from scalecli import costs
from scalecli.architectures import LARGEST
from scalecli.cli.options.groups import option_group
from scalecli.costs import Batch
from scalecli.specs import ModelSpec


def _collect(options: dict[str, Any]) -> None:
    values = {"sequences": options.pop("batch"), "inputs": options.pop("inputs"), "targets": options.pop("targets")}
    options["lengths"] = {name: value for name, value in values.items() if value is not None}


_LENGTH: dict[str, Any] = {"type": click.IntRange(1, LARGEST), "metavar": "N"}
# What is given arrives as `lengths`, by the names of `Batch`'s fields.
batch_options = option_group(
    click.option(
        "--batch", **_LENGTH, help=f"Sequences or images in a batch. [default: {Batch.sequences}, or 1 image]"
    ),
    click.option("--inputs", **_LENGTH, help=f"Tokens in an input. [default: {Batch.inputs}]"),
    click.option(
        "--targets",
        **_LENGTH,
        help=f"Tokens in a target. [default: {Batch.targets}; {costs.BATCHES['paper'].targets} in flops --convention "
        "paper]",
    ),
    heading="Batch",
    collect=_collect,
)


def batch_text(spec: ModelSpec, batch: Batch) -> str:
    """How much a batch is, for people."""
    if spec.lengths is None:
        return f"batch {batch.sequences} x {batch.inputs} inputs x {batch.targets} targets"
    images = "1 image" if batch.sequences == 1 else f"{batch.sequences} images"
    return f"{images} of {batch.inputs} patches and a class token"
