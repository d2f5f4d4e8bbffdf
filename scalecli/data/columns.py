"""The columns that a row has: one of each name, and those that are needed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from scalecli.errors import ConfigurationError, nearest


def check_names(columns: Sequence[str], where: str) -> None:
    """Raises ConfigurationError where two columns have one name; columns without a name don't count."""
    for column, count in Counter(columns).items():
        if count > 1 and column:
            raise ConfigurationError(f"{where}: {count} columns are called {column!r}; rename all but one of them")


def check_needed(needed: Sequence[str], present: Collection[str], where: str) -> None:
    """Raises ConfigurationError for a column that is needed and not present."""
    for column in needed:
        if column not in present:
            known = ", ".join(map(repr, present))
            raise ConfigurationError(f"{where}: no column {column!r}; it has {known}{nearest(column, present)}")
