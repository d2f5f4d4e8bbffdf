"""Checks of options' values, most of them callbacks of click, which may make of a value what the command needs."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from scalecli.analysis.quantities import parse_quantity
from scalecli.errors import ConfigurationError, UsageError
from scalecli.storage.files import is_remote


def run_address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """An absolute path, so that even `.` has a name and a parent, or an address in a bucket.

    Raises:
        UsageError: it is remote, but in no bucket.
    """
    if value is None or not is_remote(value):
        return value and os.path.abspath(value)
    if not value.startswith("gs://"):
        raise UsageError(f"{value}: a local directory or gs://BUCKET/FOLDER is accepted")
    return value.rstrip("/")


def local_path(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    """The path of a directory to write to, which is text until here, since `Path` makes gs:/b of gs://b.

    Raises:
        ConfigurationError: it is in a bucket.
    """
    if value is not None and is_remote(value):
        raise ConfigurationError(f"{value}: what is written to must be a local directory; copy it to the bucket later")
    return None if value is None else Path(value)


def finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """The number.

    Raises:
        ConfigurationError: it is infinite or no number.
    """
    if value is not None and not math.isfinite(value):
        raise ConfigurationError(f"{param.opts[0]} is {value}; a finite number is accepted")
    return value


def positive(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """The number, or the numbers of an option that may be repeated.

    Raises:
        ConfigurationError: one is not finite, or not above 0.
    """
    for number in value if isinstance(value, tuple) else (value,):
        if number is not None and not 0 < number < math.inf:
            raise ConfigurationError(f"{param.opts[0]} is {number}; a number above 0 is accepted")
    return value


def positive_quantity(text: str, where: str) -> float:
    """The number that `61M` and the like stand for.

    Raises:
        UsageError: it is none, not finite, or not above 0; names the option, `where`.
    """
    try:
        value = parse_quantity(text)
    except ConfigurationError as error:
        raise UsageError(f"{where}: {error}") from None
    if not 0 < value < math.inf:
        raise UsageError(f"{where}: a number above 0 is accepted, such as 1e18")
    return value


def learning_rate(ctx: click.Context, param: click.Parameter, value: float) -> float | None:
    """A finite rate.

    Raises:
        UsageError: it is the default, which is for another optimizer.
    """
    if ctx.params["optimizer"] == "adamw" and ctx.get_parameter_source("learning_rate") is ParameterSource.DEFAULT:
        raise UsageError(f"--optimizer adamw: give --learning-rate; its default, {value:g}, is for adafactor")
    return finite(ctx, param, value)


def steps_between(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """The two steps of START:STOP.

    Raises:
        ConfigurationError: it has another form, or STOP is not after START.
    """
    if value is None:
        return None
    start, _, stop = value.partition(":")
    if not (start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
        raise ConfigurationError(f"{param.opts[0]} {value}: START:STOP is accepted, such as 100:110")
    return int(start), int(stop)
