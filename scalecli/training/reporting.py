"""What a run tells of its progress, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from scalecli.manifest import Throughput


@dataclass(frozen=True)
class Progress:
    """Where a run stands: step of `steps`, mean loss (nats) and speed of the last call, which did `loss_steps` steps.

    `speed` is None after the first call, most of which compiled. `input_wait` is the share of the time in which devices
    waited for the next batch.
    """

    step: int
    steps: int
    loss: float
    loss_steps: int
    speed: Throughput | None
    input_wait: float

    @property
    def seconds_left(self) -> float | None:
        """Time to the last step at the present speed."""
        return (self.steps - self.step) / self.speed.steps_per_s if self.speed else None


class Reporter(Protocol):
    """Receives a run's progress; the command line prints it."""

    def progress(self, progress: Progress) -> None:
        """After each call of the compiled function."""

    def fetched(self, done: int, total: int, bytes_per_s: float) -> None:
        """How many bytes of a file in a bucket have been fetched, and how fast."""

    def working(self, text: str, share: float | None) -> None:
        """What is being done before training, and the share of it that is done, where that is known."""

    def examples(self, done: int, total: int) -> None:
        """How many examples of a validation or an evaluation are done so far."""

    def results(self, step: int, results: Mapping[str, float]) -> None:
        """After each validation."""

    def message(self, text: str) -> None:
        """Anything else worth a line."""
