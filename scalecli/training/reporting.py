"""What a run tells of its progress, and to whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Progress:
    """Where a run stands: step of `steps`, mean loss of the last steps (nats), speed, and utilisation if known.

    `loss_steps` says of how many steps `loss` is the mean.
    `input_wait` is the share of the time in which devices waited for the next batch.
    """

    step: int
    steps: int
    loss: float
    loss_steps: int
    steps_per_s: float
    tokens_per_s: float
    utilisation: float | None
    input_wait: float

    @property
    def seconds_left(self) -> float:
        """Time to the last step at the present speed."""
        return (self.steps - self.step) / self.steps_per_s


class Reporter(Protocol):
    """Who hears of a run's progress; the command line prints it."""

    def progress(self, progress: Progress) -> None:
        """After each call of the compiled function."""

    def fetched(self, done: int, total: int, bytes_per_s: float) -> None:
        """How many bytes of a file in a bucket have been fetched, and how fast."""

    def documents(self, documents: int, tokens: int) -> None:
        """How many documents of a corpus are tokenised so far, and into how many tokens."""

    def images(self, done: int, total: int) -> None:
        """How many files of images are looked at so far."""

    def examples(self, done: int, total: int) -> None:
        """How many examples of a validation or an evaluation are done so far."""

    def results(self, step: int, results: Mapping[str, float]) -> None:
        """After each validation."""

    def message(self, text: str) -> None:
        """Anything else worth a line."""
