"""Numbers as people and papers write them: `61M`, `2.85B`, `3.70T`."""

from __future__ import annotations

import re

from scalecli.errors import ConfigurationError

MULTIPLES = {"": 1e0, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9, "T": 1e12, "P": 1e15}

_QUANTITY = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d{1,3})?)([KMGBTP]?)", re.ASCII | re.IGNORECASE)


def parse_quantity(text: str) -> float:
    """Reads a number with or without a multiple: `300M` is 3e8, `8e12` and `8T` are the same, B and G are 1e9.

    Raises:
        ConfigurationError: the text is no such number.
    """
    match = _QUANTITY.fullmatch(text.strip())
    if match is None:
        raise ConfigurationError(f"expected a number such as 61M or 2.85B, found {text!r}")
    return float(match[1]) * MULTIPLES[match[2].upper()]


def rounding_of(text: str) -> float:
    """How far the number behind a print such as `61M` may lie from it: half a unit of its last digit, 500,000.

    Raises:
        ConfigurationError: the text is no number.
    """
    parse_quantity(text)
    digits, suffix = (text[:-1], text[-1]) if text[-1].isalpha() else (text, "")
    decimals = len(digits.partition(".")[2])
    return 0.5 * 10.0**-decimals * MULTIPLES[suffix.upper()]
