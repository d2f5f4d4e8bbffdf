"""Conditions on the rows of a comparison, such as `parameters<300M`."""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from scalecli.analysis.quantities import parse_quantity
from scalecli.analysis.rows.comparison import TEXT_COLUMNS, Row
from scalecli.errors import ConfigurationError, UsageError, nearest

_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}
# What papers and people call some columns.
_ALIASES = {
    "neg_log_ppl": "upstream",
    "negative_log_perplexity": "upstream",
    "steps/s": "steps_per_s",
}
_CONDITION = re.compile(r"([^<>=!]+)(<=|>=|!=|<|>|=)([^<>=!]+)")


@dataclass(frozen=True)
class Condition:
    """A column, how it is to compare, and with what: a number, or the text of a column of texts in lower case."""

    key: str
    comparison: str
    value: float | str

    def holds(self, row: Row) -> bool:
        """Whether the row meets it; one that lacks the figure does not."""
        actual = row.value(self.key)
        if actual is None:
            return False
        return _COMPARISONS[self.comparison](actual.lower() if isinstance(actual, str) else actual, self.value)


def parse_condition(text: str, keys: Sequence[str]) -> Condition:
    """Reads COLUMN<NUMBER and the like, or COLUMN=TEXT; a number may end in K, M, G, B, T or P.

    Raises:
        UsageError: it is no such condition, there is no such column, or texts are to be larger or smaller.
    """
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise UsageError(f"--where {text!r}: expected a condition such as parameters<300M or architecture=glu")
    key, comparison, value = (part.strip() for part in match.groups())
    key = check_column(key, keys)
    if key in TEXT_COLUMNS:
        if comparison not in ("=", "!="):
            raise UsageError(f"--where {text!r}: {key} is text, which only = and != compare")
        return Condition(key, comparison, value.lower())
    try:
        return Condition(key, comparison, parse_quantity(value))
    except ConfigurationError as error:
        raise UsageError(f"--where {text!r}: {error}") from None


def check_column(key: str, keys: Sequence[str]) -> str:
    """Returns `key` if it is a column, or the column that it is another name of, such as neg_log_ppl of upstream.

    Raises:
        UsageError: it is none; names the nearest, or all.
    """
    key = key if key in keys else _ALIASES.get(key, key)
    if key not in keys:
        hint = nearest(key, keys) or f"; there are {', '.join(keys)}"
        raise UsageError(f"no column {key!r}{hint}")
    return key
