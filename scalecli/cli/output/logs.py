"""Keeps the log lines of native libraries off stderr: absl, XLA and TensorFlow write there past Python.

Run as a script, this file is the filter: it copies stdin to stdout without such lines.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import TextIO

# 2026-11-26 23:04:32.195642: E external/...   I0000 00:00:1764198272.195642   4242 service.cc:152] ...
# Fatal ones (F) are let through.
_LOG_LINE = re.compile(
    rb"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] |[IWE]\d{4} \d\d:\d\d:\d+\.\d+ |[IWE]\d{4} \d\d:\d\d:\d\d\.\d+:"
    rb"|WARNING: All log messages before absl::InitializeLog|To enable the following instructions: |WARNING:absl:"
)


@contextlib.contextmanager
def without_logs() -> Iterator[TextIO]:
    """Within it, what anybody writes to file descriptor 2 passes the filter; gives a stream that goes past it.

    Where TF_CPP_MIN_LOG_LEVEL is not 3, as `main` sets it unless the user did, the user wants to see them.
    """
    if not _writes_to_stderr() or not sys.executable or os.environ.get("TF_CPP_MIN_LOG_LEVEL") != "3":
        yield sys.stderr
        return
    sys.stderr.flush()
    stderr = os.dup(2)
    # In a session of its own Ctrl-C does not reach it; it ends when the last writer of its stdin has.
    program = [sys.executable, "-I", "-S", __file__]
    child = subprocess.Popen(program, stdin=subprocess.PIPE, stdout=stderr, start_new_session=True)
    assert child.stdin
    os.dup2(child.stdin.fileno(), 2)
    child.stdin.close()
    try:
        with open(stderr, "w", errors="replace", buffering=1, closefd=False) as stream:
            yield stream
    finally:
        sys.stderr.flush()
        os.dup2(stderr, 2)
        os.close(stderr)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(2)


def _writes_to_stderr() -> bool:
    """Whether Python's stderr is the process's: not in a notebook, nor where a test captures it."""
    try:
        return sys.stderr.fileno() == 2
    except (OSError, ValueError, AttributeError):
        return False


def _filter() -> None:
    start = b"\r\x1b[2K" if os.isatty(1) else b""  # in the place of a live line, which comes again below
    for line in iter(sys.stdin.buffer.readline, b""):
        if not _LOG_LINE.match(line):
            os.write(1, start + line)


if __name__ == "__main__":
    _filter()
