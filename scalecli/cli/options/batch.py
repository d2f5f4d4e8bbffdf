"""The options that say how much goes through a model at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from scalecli import costs
from scalecli.costs import Batch
from scalecli.shape import LARGEST
from scalecli.specs import ModelSpec


def batch_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--batch --inputs --targets`; what is given arrives as `lengths`, by the names of `Batch`'s fields."""

    @functools.wraps(function)
    def collected(*arguments: Any, batch: int | None, inputs: int | None, targets: int | None, **options: Any) -> Any:
        values = {"sequences": batch, "inputs": inputs, "targets": targets}
        lengths = {name: value for name, value in values.items() if value is not None}
        return function(*arguments, lengths=lengths, **options)

    command: Callable[..., Any] = collected
    paper = costs.BATCHES["paper"].targets
    for flag, text in (
        ("--targets", f"Tokens of a target. [default: {Batch.targets}; {paper} in flops --convention paper]"),
        ("--inputs", f"Tokens of an input. [default: {Batch.inputs}]"),
        ("--batch", f"Sequences of a batch, or images. [default: {Batch.sequences}, or 1 image]"),
    ):
        command = click.option(flag, type=click.IntRange(1, LARGEST), metavar="N", help=text)(command)
    return command


def batch_text(spec: ModelSpec, batch: Batch) -> str:
    """How much a batch is, for people."""
    if spec.lengths is None:
        return f"batch {batch.sequences} x {batch.inputs} inputs x {batch.targets} targets"
    images = "1 image" if batch.sequences == 1 else f"{batch.sequences} images"
    return f"{images} of {batch.inputs} patches and a class token"


def tokens(batch: Batch) -> int:
    """Tokens of a batch, inputs and targets together, or patches and class tokens: what "per token" divides by."""
    return batch.sequences * (batch.inputs + batch.targets)
