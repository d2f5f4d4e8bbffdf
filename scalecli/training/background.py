"""Work that goes on beside training, one piece after another."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any


class Background:
    """A thread that does one thing at a time; what it raises is raised to whoever asks next."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1)
        self._present: Future[Any] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether something is being done."""
        return self._present is not None and not self._present.done()

    def start(self, work: Callable[[], Any]) -> None:
        """Starts some work when what was started before is done; raises what that raised."""
        self.wait()
        self._present = self._executor.submit(work)

    def check(self) -> None:
        """Raises what work that is done has raised."""
        if not self.is_busy:
            self.wait()

    def wait(self) -> None:
        """Returns when nothing is being done any more; raises what it raised."""
        if self._present is None:
            return
        wait([self._present])  # Ctrl-C here leaves it as it is, to be waited for again
        present, self._present = self._present, None
        present.result()
