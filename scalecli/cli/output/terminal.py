"""Lines on stderr, and one live line below them.

What comes from a file, a name or an error of a library must not drive the terminal.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from typing import Any, TextIO

import click

from scalecli.cli.output.text_tables import wrapped
from scalecli.tables import printable

_LONGEST_WORD, _ENDS = 1000, 100
_USUAL_WIDTH = 80  # of a terminal that says 0, as that of script(1) does

_stream: TextIO | None = None  # where lines go while something else has stderr
_console: Any = None  # rich's, while there is a live line
_status: Any = None  # rich's live line


def say(text: str, bold: bool = False) -> None:
    """Prints one line to stderr, in which what is no letter, sign or space is a space; a live line stays below it.

    Words of more than 1,000 characters are shortened.
    """
    line = re.sub(rf"\S{{{_LONGEST_WORD},}}", _shortened, printable(text))
    if _console is not None:
        _console.print(line, style="bold" if bold else None, markup=False, highlight=False, soft_wrap=True)
    else:
        click.secho(line, file=_stream, err=True, bold=bold or None)


def stdout_color() -> bool | None:
    """What click is told of colors on stdout: none where NO_COLOR is set, else as it is a terminal or not."""
    return False if os.environ.get("NO_COLOR") else None


def say_wrapped(text: str) -> None:
    """Prints a longer text to stderr, in a terminal in lines that break between words."""
    width = shutil.get_terminal_size().columns if sys.stderr.isatty() else None
    for line in [text] if width is None else wrapped(printable(text), width):
        say(line)


def _shortened(word: re.Match[str]) -> str:
    text = word[0]
    return f"{text[:_ENDS]}[... {len(text) - 2 * _ENDS:,} characters ...]{text[-_ENDS:]}"


Line = Callable[[list[str]], None]


@contextlib.contextmanager
def live_line() -> Iterator[Line | None]:
    """Keeps other libraries' logs off stderr and, on a terminal, a live line at its end.

    Gives a function that sets the line, from its parts in the order of their importance, or None where there is no
    terminal. Parts that the terminal has no room for are left out.
    """
    global _stream, _console, _status
    from scalecli.cli.output.logs import without_logs

    with without_logs() as _stream:
        try:
            if not _stream.isatty() or os.environ.get("TERM") == "dumb":
                yield None
                return
            from rich.console import Console

            _console = Console(file=_stream)
            with _console.status("starting") as _status:
                yield _set
        finally:
            _stream = _console = _status = None


def end_live_line() -> None:
    """Takes the live line off the terminal, if there is one, for the last words of a process."""
    if _status is not None:
        _status.stop()


def _set(parts: list[str]) -> None:
    from rich.text import Text

    assert _stream is not None
    with contextlib.suppress(OSError):
        _console.width = os.get_terminal_size(_stream.fileno()).columns or _USUAL_WIDTH
    line = parts[0]
    for part in parts[1:]:
        if len(line) + 2 + len(part) <= _console.width - 2:  # the spinner takes two
            line += f"  {part}"
    _status.update(Text(printable(line), no_wrap=True, overflow="ellipsis"))
