"""The training loop that pretraining and finetuning share: steps, validation, checkpoints, resume, faults.

What a step computes depends on the configuration, the seed and the step's number alone, so a run that was killed goes
on from its last checkpoint to the very losses that it would have had.

A checkpoint is trusted once a finite loss has been computed from its weights, or the run is complete. Older ones are
removed only then: whenever a run diverges, the last one that it can be taken up from is there.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from scalecli.errors import ConfigurationError, DivergedError, InterruptedRunError, MissingError
from scalecli.manifest import Best, Checkpoints, Manifest, Throughput, save_manifest, utc_now
from scalecli.models.encoder_decoder import EncoderDecoder
from scalecli.training import checkpoints
from scalecli.training.adafactor import Adafactor, KerasSchedule
from scalecli.training.checkpoints import Saving
from scalecli.training.records import Records
from scalecli.training.schedules import Schedule
from scalecli.training.signals import asked_to_stop
from scalecli.training.steps import TrainingSteps

CHECKPOINTS = "checkpoints"
SECONDS_PER_CALL = 2.0  # how long the compiled function runs before the host looks in: progress, signals
MOST_STEPS_PER_CALL = 100


@dataclass(frozen=True)
class Progress:
    """Where a run stands: step of `steps`, mean loss of the last call (nats), speed, and utilisation if known."""

    step: int
    steps: int
    loss: float
    steps_per_s: float
    tokens_per_s: float
    utilisation: float | None

    @property
    def seconds_left(self) -> float:
        """Time to the last step at the present speed."""
        return (self.steps - self.step) / self.steps_per_s


class Reporter(Protocol):
    """Who hears of a run's progress; the command line prints it."""

    def progress(self, progress: Progress) -> None:
        """After each call of the compiled function."""

    def documents(self, documents: int, tokens: int) -> None:
        """How many documents of a corpus are tokenised so far, and into how many tokens."""

    def examples(self, done: int, total: int) -> None:
        """How many examples of a validation or an evaluation are done so far."""

    def results(self, step: int, results: Mapping[str, float]) -> None:
        """After each validation."""

    def message(self, text: str) -> None:
        """Anything else worth a line."""


@dataclass(frozen=True)
class Job:
    """A run to carry out.

    `manifest` states the configuration. `batches(step)` is an endless dataset that begins with the batch of that step;
    `validate()` measures the model; `best` is the result whose highest value names the best step. `tokens_per_step`
    counts inputs and targets of a batch, `peak_flops` is the device's peak in FLOPs per second, where it is known. With
    a `start_step` it goes on from the weights and the optimizer's state of the checkpoint `start`.
    """

    manifest: Manifest
    model: EncoderDecoder
    schedule: Schedule
    saving: Saving
    batches: Callable[[int], Any]
    validate: Callable[[], dict[str, float]]
    best: str
    tokens_per_step: int
    peak_flops: float | None = None
    start: Path | None = None


def train(job: Job, directory: Path, reporter: Reporter) -> Manifest:
    """Carries out a job, from its last checkpoint if there is one; returns the finished manifest.

    Raises:
        DivergedError: a loss or gradient was not finite; names the last good checkpoint.
        InterruptedRunError: Ctrl-C or SIGTERM, after saving a checkpoint.
        ConfigurationError: the checkpoints in the directory are of another model.
        MissingError: there are checkpoints in the directory, and all are damaged.
        ScalecliError: the disk is full or not writable; earlier checkpoints stay.
    """
    run = _Run(job, directory, reporter)
    with asked_to_stop() as asked:
        try:
            run.restore()
            run.save_manifest(status="running", finished=None)
            if run.step and run.is_due(job.saving.validate_every) and run.step not in run.manifest.results:
                run.validate()  # the run was stopped between the checkpoint and this
            while run.step < job.manifest.steps:
                run.train_until(run.next_stop())
                stopping = asked() and run.step < job.manifest.steps
                if run.is_due(job.saving.checkpoint_every) or run.step in job.saving.named or stopping:
                    run.save_checkpoint()
                if run.is_due(job.saving.validate_every) and not stopping:
                    run.validate()
                if stopping:
                    raise InterruptedRunError(
                        f"{directory}: interrupted after step {run.step:,} of {job.manifest.steps:,}, which is saved; "
                        "the same command goes on from there"
                    )
        except BaseException as error:
            status = "interrupted" if isinstance(error, (InterruptedRunError, KeyboardInterrupt)) else "failed"
            with contextlib.suppress(Exception):  # the error at hand says more than one about the manifest
                run.save_manifest(status=status, finished=utc_now())
            raise
        run.remove_old_checkpoints()
        run.save_manifest(status="completed", finished=utc_now())
    return run.manifest


class _Run:
    """The state of a run while it is carried out."""

    def __init__(self, job: Job, directory: Path, reporter: Reporter) -> None:
        self.job, self.directory, self.reporter = job, directory, reporter
        self.manifest = job.manifest
        self.step = 0
        self._optimizer = Adafactor(KerasSchedule(job.schedule))
        self._steps = TrainingSteps(
            job.model,
            self._optimizer,
            seed=self.manifest.seed,
            z_loss=self.manifest.z_loss,
            accumulation=self.manifest.accumulation,
        )
        self._weights = job.model.weights_by_path()
        self._state = self._optimizer.state_by_path(self._weights)
        self._batches: Iterator[Any] | None = None
        self._steps_per_call, self._compiled = 1, False
        self._timed_steps, self._timed_seconds = 0, 0.0
        self._untrusted: int | None = None  # the newest checkpoint's step, until it is trusted
        self._records = Records(directory)

    @property
    def _folder(self) -> Path:
        return self.directory / CHECKPOINTS

    def restore(self) -> None:
        """Takes up the newest checkpoint that is whole, or that to start from, and forgets figures of later steps."""
        for step in reversed(checkpoints.checkpoint_steps(self._folder)):
            source = self._folder / f"{step:08d}"
            try:
                arrays = checkpoints.load_both(source)
            except (MissingError, ConfigurationError) as error:
                self.reporter.message(f"{error}; trying the checkpoint before it")
                continue
            self._take(arrays, source, step)
            self._untrusted = step
            resumed = f"resumed at step {step} on {utc_now()}"
            self.manifest = replace(self.manifest, warnings=[*self.manifest.warnings, resumed])
            break
        else:
            if checkpoints.checkpoint_steps(self._folder):
                raise MissingError(f"{self._folder}: no checkpoint can be read; remove the folder to start anew")
            if self.job.start is not None:
                self._take(checkpoints.load_both(self.job.start), self.job.start, self.manifest.start_step)
        results = {step: found for step, found in self.manifest.results.items() if step <= self.step}
        self.manifest = replace(self.manifest, results=results, best=_best(results, self.job.best))
        self._records.forget_after(self.step)

    def _take(self, arrays: tuple[dict[str, Any], ...], source: Path, step: int) -> None:
        """Goes on from the weights and the optimizer's state of a checkpoint."""
        checkpoints.assign(self._weights, arrays[0], str(source))
        checkpoints.assign(self._state, arrays[1], str(source))
        self.step = step
        self.reporter.message(f"{self.directory}: going on from step {step:,}")

    def next_stop(self) -> int:
        """The next step at which something is due."""
        saving, steps = self.job.saving, self.manifest.steps
        regular = [self.step - self.step % n + n for n in (saving.validate_every, saving.checkpoint_every)]
        return min([steps, *regular, *(step for step in saving.named if step > self.step)])

    def is_due(self, every: int) -> bool:
        """Whether something that happens every so many steps, and at the end, is to happen now."""
        return self.step % every == 0 or self.step == self.manifest.steps

    def train_until(self, stop: int) -> None:
        """Runs one call of the compiled function, at most up to step `stop`."""
        if self._batches is None:
            self._batches = iter(self.job.batches(self.step))
        count = min(stop - self.step, self._steps_per_call)
        start = time.perf_counter()
        figures = self._steps.run(self._batches, count)
        seconds = time.perf_counter() - start
        finite = np.isfinite(figures.losses) & np.isfinite(figures.norms)
        good = count if finite.all() else int(np.argmin(finite))
        rate = float(self.job.schedule.rate(self.step + good - 1))
        self._records.append_steps(self.step, figures.first(good), rate, count / seconds)
        if good < count:
            last = self.step + good
            raise self._diverged(f"the loss or its gradient is not finite at step {last + 1:,}", weights_of=last)
        self.remove_old_checkpoints()
        self.step += count
        if self._compiled:  # the first call compiles, which is no part of the speed
            self._timed_steps, self._timed_seconds = self._timed_steps + count, self._timed_seconds + seconds
            per_call = round(SECONDS_PER_CALL * count / seconds)
            self._steps_per_call = max(1, min(per_call, MOST_STEPS_PER_CALL))
        self._compiled = True
        speed = self._throughput(count / seconds)
        self.reporter.progress(
            Progress(
                step=self.step,
                steps=self.manifest.steps,
                loss=float(figures.losses.mean()),
                steps_per_s=speed.steps_per_s,
                tokens_per_s=speed.tokens_per_s,
                utilisation=speed.model_flops_utilisation,
            )
        )

    def validate(self) -> None:
        """Measures the model, and notes the results."""
        results = self.job.validate()
        if not np.isfinite(list(results.values())).all():
            raise self._diverged(f"a validation is not finite after step {self.step:,}", weights_of=self.step)
        every = {**self.manifest.results, self.step: results}
        self.manifest = replace(self.manifest, results=every, best=_best(every, self.job.best))
        self._records.append([{"step": self.step, **results}])
        self._records.show(self.step, results)
        self.save_manifest()
        self.reporter.results(self.step, results)

    def save_checkpoint(self) -> None:
        """Saves the present step, and notes which checkpoints are there."""
        checkpoints.save_checkpoint(
            self._folder,
            self.step,
            self._weights,
            self._state,
            self.manifest.architecture,
            self.manifest.shape,
        )
        self._untrusted = self.step
        self._note_checkpoints([step for step in checkpoints.checkpoint_steps(self._folder) if step <= self.step])

    def remove_old_checkpoints(self) -> None:
        """Removes old checkpoints, now that the newest is trusted, and notes which stay; nothing if that is done."""
        if self._untrusted is None:
            return
        saving, best = self.job.saving, self.manifest.best
        others = (*saving.named, best.step) if best else saving.named
        stay = checkpoints.remove_old_checkpoints(self._folder, self._untrusted, saving.keep, others)
        self._untrusted = None
        self._note_checkpoints(stay)

    def _note_checkpoints(self, steps: list[int]) -> None:
        named = [step for step in steps if step in self.job.saving.named]
        self.save_manifest(checkpoints=Checkpoints(directory=CHECKPOINTS, kept=steps, named=named))

    def save_manifest(self, **changes: Any) -> None:
        """Writes the manifest as it now is."""
        if self._timed_steps:
            changes["throughput"] = self._throughput(self._timed_steps / self._timed_seconds)
        self.manifest = replace(self.manifest, **changes)
        save_manifest(self.manifest, self.directory)

    def _throughput(self, steps_per_s: float) -> Throughput:
        flops, peak = self.manifest.flops.training_total, self.job.peak_flops
        steps = self.manifest.steps - self.manifest.start_step
        utilisation = steps_per_s * flops / steps / peak if flops and peak else None
        return Throughput(
            steps_per_s=steps_per_s,
            tokens_per_s=steps_per_s * self.job.tokens_per_step,
            model_flops_utilisation=utilisation,
        )

    def _diverged(self, what: str, weights_of: int) -> DivergedError:
        good = [step for step in checkpoints.checkpoint_steps(self._folder) if step < weights_of]
        last = f"the last good checkpoint is {self._folder / f'{good[-1]:08d}'}" if good else "no good checkpoint yet"
        return DivergedError(f"{self.directory}: {what}; {last}")


def _best(results: Mapping[int, Mapping[str, float]], rule: str) -> Best | None:
    measured = {step: found[rule] for step, found in results.items() if rule in found}
    if not measured:
        return None
    return Best(step=max(measured, key=lambda step: measured[step]), rule=f"highest {rule}")
