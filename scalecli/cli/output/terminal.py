"""Lines on stderr. What comes from a file, a name or an error of a library must not drive the terminal."""

from __future__ import annotations

import re
import shutil
import sys
from typing import Any

import click

from scalecli.cli.output.text_tables import wrapped
from scalecli.tables import printable

_LONGEST_WORD, _ENDS = 1000, 100


def say(text: str, **style: Any) -> None:
    """Prints one line to stderr, in which what is no letter, sign or space is a space; the style is click's.

    Words of more than 1,000 characters are shortened.
    """
    click.secho(re.sub(rf"\S{{{_LONGEST_WORD},}}", _shortened, printable(text)), err=True, **style)


def say_wrapped(text: str) -> None:
    """Prints a longer text to stderr, in a terminal in lines that break between words."""
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    for line in [text] if width is None else wrapped(printable(text), width):
        say(line)


def _shortened(word: re.Match[str]) -> str:
    text = word[0]
    return f"{text[:_ENDS]}[... {len(text) - 2 * _ENDS:,} characters ...]{text[-_ENDS:]}"
