"""Which rows `scalecli compare` shows, and in which order."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import click

from scalecli.analysis.papers.published import published_models
from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.rows.filters import Condition
from scalecli.cli.output.terminal import say
from scalecli.errors import UsageError, nearest


def over_seeds(rows: Sequence[Row]) -> list[Row]:
    """The means over seeds; says so where there is nothing to average."""
    from scalecli.analysis.rows.seeds import mean_over_seeds

    averaged = mean_over_seeds(rows)
    if len(averaged) == len(rows):
        say("note: --seeds mean: no runs differ in their seed alone")
    return averaged


def load_architectures(ctx: click.Context, param: click.Parameter, values: tuple[str, ...]) -> tuple[str, ...]:
    """The names of architectures, those of the user's own after their code was loaded."""
    if not values:
        return ()
    from scalecli.architectures import load

    return tuple(load(text) if "/" in text or "." in text else text for text in values)


def check_architectures(architectures: Sequence[str], known: Collection[str]) -> None:
    """Raises UsageError for an architecture that is not known."""
    for name in architectures:
        if name not in known:
            raise UsageError(f"--arch {name}: no such architecture{nearest(name, known)}")


def filtered(rows: list[Row], conditions: Sequence[Condition], architectures: Sequence[str]) -> list[Row]:
    """The rows that meet all conditions and have one of the architectures, if any are given; warns if none do.

    Raises:
        UsageError: an architecture that neither is known nor has a row.
    """
    if architectures:
        from scalecli.architectures import ARCHITECTURES

        known = {*ARCHITECTURES, *(model.architecture for model in published_models().values())}
        check_architectures(architectures, known | {row.architecture for row in rows})
    candidates = [row for row in rows if not architectures or row.architecture in architectures]
    left = [row for row in candidates if all(condition.holds(row) for condition in conditions)]
    if rows and not left:
        say(f"warning: none of the {len(rows)} rows meets --where and --arch")
    return left


def sorted_rows(rows: Sequence[Row], key: str, descending: bool) -> list[Row]:
    """The rows by a column, those without a figure last."""
    known = [row for row in rows if row.value(key) is not None]
    unknown = [row for row in rows if row.value(key) is None]
    return [*sorted(known, key=lambda row: row.value(key), reverse=descending), *unknown]
