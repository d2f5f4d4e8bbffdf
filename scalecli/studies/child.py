"""Another `scalecli` in its own process, which ends when this one does, however that happens."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess

PROGRAM = (sys.executable, "-m", "scalecli")
_WATCHES_STDIN = "SCALECLI_PARENT_HOLDS_STDIN"


def start_child(words: Sequence[str], program: Sequence[str] = PROGRAM, **options: Any) -> subprocess.Popen:
    """Starts `scalecli` with these words; the options are Popen's.

    This process holds the other end of its stdin, which the system closes when this process ends, even by SIGKILL.
    """
    import subprocess

    environment = {**os.environ, _WATCHES_STDIN: "1"}
    return subprocess.Popen([*program, *words], stdin=subprocess.PIPE, env=environment, **options)


def end_with_parent() -> None:
    """In a child: sends this process SIGTERM when the process that started it has ended."""
    if os.environ.pop(_WATCHES_STDIN, None) is None:
        return

    def watch() -> None:
        while os.read(0, 1):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()
