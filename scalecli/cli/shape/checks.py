"""`scalecli shape --check`: whether an architecture keeps what its specs and layers promise."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from scalecli.architectures import DEFAULT_ARCHITECTURE, build_spec
from scalecli.cli.output.formats import Column, print_table
from scalecli.cli.output.terminal import live_line
from scalecli.errors import ScalecliError, UsageError
from scalecli.references import resolve_model
from scalecli.shape import presets

_COLUMNS = (Column("check", "Check"), Column("result", "Result"), Column("detail", "What to look at"))


def print_checks(models: Sequence[str], architecture: str | None, operators: dict[str, Any], format: str) -> None:
    """Prints a row for each check.

    Raises:
        UsageError: several models.
        ScalecliError: a check failed.
    """
    if len(models) > 1:
        raise UsageError(f"--check takes one MODEL; there are {len(models)}")
    first = next(iter(presets(architecture or DEFAULT_ARCHITECTURE)))
    reference = resolve_model(*(models or [first]), architecture=architecture, operators=operators, reshape_runs=True)
    from scalecli.runs.checks.architecture import check_architecture

    with live_line() as show:
        if show:
            show([f"checking {reference.architecture}"])
        checks = list(check_architecture(functools.partial(build_spec, reference.architecture), reference.shape))
    rows = [
        {
            "check": check.name,
            "result": "failed" if check.failure else "not applicable" if check.skipped else "passed",
            "detail": check.failure or check.skipped,
        }
        for check in checks
    ]
    print_table("checks", rows, _COLUMNS, format)
    failed = sum(check.failure is not None for check in checks)
    if failed:
        raise ScalecliError(f"{reference.architecture}: {failed} of {len(checks)} checks failed")
