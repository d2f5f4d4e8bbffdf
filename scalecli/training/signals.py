"""Ctrl-C and SIGTERM: they end the process, or are a wish to stop, which a loop grants when it can save what it has."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

_IMPORT = "<frozen importlib._bootstrap>"  # the file that Python names for the code of `import`


def end_by_signals(say_so: Callable[[], None]) -> None:
    """From here on SIGTERM ends the process at once, with 130, and Ctrl-C by KeyboardInterrupt.

    Under an import Ctrl-C does, after calling `say_so`, what SIGTERM does: an exception there could be dropped by a
    package, or crash one in C++.
    """

    def interrupt(number: int, frame: FrameType | None) -> None:
        while frame is not None:
            if frame.f_code.co_filename == _IMPORT:
                try:
                    say_so()
                finally:
                    signal.raise_signal(signal.SIGTERM)
            frame = frame.f_back
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, lambda number, frame: os._exit(130))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # A shell has a job in the background ignore it.
        signal.signal(signal.SIGINT, interrupt)
    sys.unraisablehook = _interrupt_again


def _interrupt_again(dropped: Any) -> None:
    """Repeats a Ctrl-C that came in a finalizer or in a callback of garbage collection, where Python drops errors."""
    if not issubclass(dropped.exc_type, KeyboardInterrupt):
        return sys.__unraisablehook__(dropped)
    again = threading.Timer(0.1, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT))
    again.daemon = True
    again.start()


@contextlib.contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Within it, the first Ctrl-C or SIGTERM only notes the wish to stop; a second Ctrl-C stops at once.

    Gives a function that says whether the wish was noted.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked = True

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
