"""The options that say how often each task of a mixture is drawn."""

from __future__ import annotations

import math
from typing import Any

import click

from scalecli.cli.options.groups import option_group
from scalecli.cli.options.values import finite
from scalecli.data.tasks.mixing import CAP, Mixing
from scalecli.errors import UsageError


def _collect(options: dict[str, Any]) -> None:
    mixing, cap, temperature = options["mixing"], options.pop("mixing_cap"), options.pop("temperature")
    weights = None if mixing in ("examples", "equal") else _weights(mixing)
    options["mixing"] = Mixing(weights, cap, math.inf if mixing == "equal" else temperature)


# They arrive as `mixing`, a `Mixing`.
mixing_options = option_group(
    click.option(
        "--mixing",
        default="examples",
        show_default=True,
        metavar="examples|equal|TASK=WEIGHT,...",
        help="How often each task is drawn: in proportion to its examples, equally, or by weights.",
    ),
    click.option(
        "--mixing-cap",
        type=int,
        default=CAP,
        show_default=True,
        metavar="N",
        help="Count at most N examples of each task, so that large ones do not crowd out small ones.",
    ),
    click.option(
        "--temperature",
        type=float,
        callback=finite,
        default=1.0,
        show_default=True,
        metavar="T",
        help="Raise the rates to the power 1/T: above 1, small tasks are drawn more often.",
    ),
    heading="Tasks",
    collect=_collect,
)


def _weights(text: str) -> dict[str, float]:
    weights = {}
    for part in text.split(","):
        task, _, number = part.partition("=")
        try:
            weights[task.strip()] = float(number)
        except ValueError:
            raise UsageError(
                f"--mixing: {part.strip()!r}; accepted: examples, equal, or weights such as cola=1,sst2=2.5"
            ) from None
    return weights
