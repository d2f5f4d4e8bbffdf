"""Progress on stderr: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from types import TracebackType

from scalecli.cli.output.terminal import Line, live_line, say
from scalecli.results import UNIGRAM_NEGATIVE_LOG_PERPLEXITY
from scalecli.training.reporting import Progress

SECONDS_BETWEEN_LINES = 10.0
LEAST_SECONDS = 1.0  # of work, before the time left is estimated
LONG_WAIT = 0.1  # share of the time from which on the input pipeline is said to be what holds training up


class ConsoleReporter:
    """Prints what a run reports. As a context it owns the terminal's last line, and gives it back at the end."""

    def __init__(self) -> None:
        self._context = contextlib.ExitStack()
        self._line: Line | None = None
        self._last_line = 0.0
        self._baseline_is_said = False
        self._first_examples: tuple[int, float] | None = None  # of an evaluation under way: how many, and when
        self._first_share: tuple[float, float] | None = None  # of work before training: how much, and when

    def __enter__(self) -> ConsoleReporter:
        self._line = self._context.enter_context(live_line())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line = None
        self._context.close()

    def progress(self, progress: Progress) -> None:
        """Step, loss, the time left, speed, and utilization where it is known."""
        steps = f"mean of {progress.loss_steps:,} steps" if progress.loss_steps > 1 else "of 1 step"
        parts = [f"step {progress.step:,} of {progress.steps:,}"]
        if progress.seconds_left is not None:
            parts.append(f"{duration(progress.seconds_left)} left")
        parts.append(f"loss {progress.loss:.4f} ({steps})")
        if speed := progress.speed:
            parts.append(f"{speed.steps_per_s:.3g} steps/s")
            if progress.input_wait > LONG_WAIT:
                parts.append(f"input pipeline too slow: {progress.input_wait:.0%} of the time waits for it")
            if speed.model_flops_utilisation is not None:
                parts.append(f"{speed.model_flops_utilisation:.1%} of peak FLOPs")
            parts.append(f"{speed.tokens_per_s:,.0f} tokens/s")
        self._now(*parts, last=progress.step == progress.steps)

    def working(self, text: str, share: float | None) -> None:
        """What is being done before training; the time left follows from the share that is done since the first."""
        now, parts = time.monotonic(), [text]
        if share is None:
            self._first_share = None
        else:
            if self._first_share is None or share < self._first_share[0]:
                self._first_share = share, now
            before, start = self._first_share
            parts.append(f"{share:.0%}")
            if share > before and now - start >= LEAST_SECONDS:
                parts.append(f"{duration((1 - share) * (now - start) / (share - before))} left")
        self._now(*parts)

    def fetched(self, done: int, total: int, bytes_per_s: float) -> None:
        """How many bytes of a download are there, at what rate, and the time left for the others."""
        parts = [f"fetched {done / 1e6:,.1f} of {total / 1e6:,.1f} MB"]
        if bytes_per_s > 0:
            parts += [f"{bytes_per_s / 1e6:,.1f} MB/s", f"{duration((total - done) / bytes_per_s)} left"]
        self._now(*parts, last=done == total)

    def examples(self, done: int, total: int) -> None:
        """How many examples of a validation or an evaluation are done, at what rate, and the time left for the others.

        The rate is that since the first report, before which the program was compiled; the result says when all are.
        """
        now = time.monotonic()
        if self._first_examples is None:
            self._first_examples = done, now
        before, start = self._first_examples
        parts = [f"evaluated {done:,} of {total:,} examples"]
        if done > before and now > start:
            rate = (done - before) / (now - start)
            parts += [f"{rate:,.3g} examples/s", f"{duration((total - done) / rate)} left"]
        if done == total:
            self._first_examples = None
        self._now(*parts)

    def results(self, step: int, results: Mapping[str, float]) -> None:
        """The figures of a validation; the baseline, which is the same in all of them, once."""
        changing = {name: value for name, value in results.items() if name != UNIGRAM_NEGATIVE_LOG_PERPLEXITY}
        if len(changing) < len(results) and not self._baseline_is_said:
            self._baseline_is_said = True
            baseline = results[UNIGRAM_NEGATIVE_LOG_PERPLEXITY]
            self.message(f"{UNIGRAM_NEGATIVE_LOG_PERPLEXITY} {baseline:.4f}: what guessing by frequency gives")
        self.message(f"step {step:,}: " + ", ".join(f"{name} {value:.4f}" for name, value in changing.items()))

    def message(self, text: str) -> None:
        """A line that stays."""
        say(text)

    def _now(self, *parts: str, last: bool = False) -> None:
        if self._line:
            self._line([*parts])
        elif last or time.monotonic() - self._last_line >= SECONDS_BETWEEN_LINES:
            self._last_line = time.monotonic()
            say("  ".join(parts))


def duration(seconds: float) -> str:
    """`2:03:04`, or `3:04` under an hour."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
