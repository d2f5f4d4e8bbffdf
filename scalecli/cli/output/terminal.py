"""Lines on stderr. What comes from a file, a name or an error of a library must not drive the terminal."""

from __future__ import annotations

import re
from typing import Any

import click

from scalecli.tables import printable

_LONGEST_WORD, _ENDS = 1000, 100


def say(text: str, **style: Any) -> None:
    """Prints one line to stderr, in which what is no letter, sign or space is a space; the style is click's.

    Words of more than 1,000 characters are shortened.
    """
    click.secho(re.sub(rf"\S{{{_LONGEST_WORD},}}", _shortened, printable(text)), err=True, **style)


def _shortened(word: re.Match[str]) -> str:
    text = word[0]
    return f"{text[:_ENDS]}[... {len(text) - 2 * _ENDS:,} characters ...]{text[-_ENDS:]}"
