"""Work that goes on beside training, one piece after another."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """A thread that does one thing at a time; what it raises is raised to whoever asks next.

    It ends with the process: what must be done is waited for.
    """

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is being done."""
        return self._thread is not None and self._thread.is_alive()

    def start(self, work: Callable[[], None]) -> None:
        """Starts some work when what was started before is done; raises what that raised."""
        self.wait()
        self._thread = threading.Thread(target=self._do, args=(work,), daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raises what work that is done has raised."""
        if not self.is_busy:
            self.wait()

    def wait(self) -> None:
        """Returns when nothing is being done any more; raises what it raised."""
        if self._thread is not None:
            self._thread.join()
        self._thread, error, self._error = None, self._error, None
        if error is not None:
            raise error

    def _do(self, work: Callable[[], None]) -> None:
        try:
            work()
        except BaseException as error:
            self._error = error
