"""The errors that a user can cause or meet, each with the exit code that the command line ends with.

Raise one of these with a message of one line that names the file, key or flag, what was found, and what would be
accepted. The command line prints the message and nothing else; everything that is not a `ScalecliError` is a defect of
ours.
"""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterable, Iterator

# Lines of TensorFlow's messages that say where in a graph something happened, and not what.
_WHERE = re.compile(r"Graph execution error:|Detected at node|<stack traces unavailable>|File \"|\d+ root error|\[\[")


class ScalecliError(Exception):
    """Something failed while running (exit code 1); the base of every error that ends in one clear line."""

    exit_code = 1


class HeldError(ScalecliError):
    """Another process is at work on the same run (exit code 1)."""


class UsageError(ScalecliError):
    """The command line's own words do not fit together (exit code 2)."""

    exit_code = 2


class ConfigurationError(ScalecliError):
    """A bad manifest, shape, task file or configuration (exit code 3)."""

    exit_code = 3


class MissingError(ScalecliError):
    """Data or a checkpoint that is not there or cannot be read (exit code 4)."""

    exit_code = 4


class DivergedError(ScalecliError):
    """Training met a loss that is not finite (exit code 5)."""

    exit_code = 5


class InterruptedRunError(ScalecliError):
    """Ctrl-C or SIGTERM, after the checkpoint was saved (exit code 130)."""

    exit_code = 130


@contextlib.contextmanager
def errors_at(where: object) -> Iterator[None]:
    """Puts `where` before the message of a ConfigurationError that is raised within the block."""
    try:
        yield
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {error}") from None


def nearest(name: str, choices: Iterable[str]) -> str:
    """Returns "; did you mean 'x'?" for the choice most like `name`, or an empty string when none is close."""
    close = difflib.get_close_matches(name, list(choices), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def reason_of(error: BaseException) -> str:
    """Returns the line of an error's message that says what is wrong, or the name of the error's class."""
    return next(iter(reasons_of(error)), type(error).__name__)


def reasons_of(error: BaseException) -> list[str]:
    """Returns the lines of an error's message without those that only say where in a program it came up."""
    message = re.sub(r"\{\{.*?\}\}|\[Op:.*", "", str(error))
    if asserted := re.search(r"assertion failed: \[(.*?)\]", message):
        return [asserted[1]]
    lines = [line.strip() for line in message.splitlines()]
    return [re.sub(r"^\(\d+\) [A-Z_]+:\s+", "", line) for line in lines if line and not _WHERE.match(line)]
