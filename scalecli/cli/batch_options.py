"""The options that say how much goes through a model at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from scalecli import costs
from scalecli.costs import Batch
from scalecli.shape import LARGEST


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
        ("--batch", f"Sequences of a batch. [default: {Batch.sequences}]"),
    ):
        command = click.option(flag, type=click.IntRange(1, LARGEST), metavar="N", help=text)(command)
    return command


def tokens(batch: Batch) -> int:
    """Tokens of a batch, inputs and targets together: what "per token" divides by."""
    return batch.sequences * (batch.inputs + batch.targets)
