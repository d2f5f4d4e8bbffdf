"""The training loop that pretraining and finetuning share: steps, validation, checkpoints, resume, faults.

What a step computes depends on the configuration, the seed and the step's number alone, so a run that was killed goes
on from its last checkpoint to the very losses that it would have had.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from scalecli.devices import check_batch
from scalecli.errors import DivergedError, HeldError, InterruptedRunError, ScalecliError
from scalecli.manifest import Best, Manifest, Throughput, save_manifest
from scalecli.storage.layout import CHECKPOINTS, TENSORBOARD
from scalecli.storage.run_storage import RunStorage
from scalecli.times import utc_now
from scalecli.training.job import PreparedRun
from scalecli.training.records import Records, StepMetrics
from scalecli.training.reporting import Progress, Reporter
from scalecli.training.run_checkpoints import RunCheckpoints, load_checkpoint
from scalecli.training.signals import asked_to_stop
from scalecli.training.steps import new_steps

SECONDS_PER_CALL = 2.0  # how long the compiled function runs before the host looks in: progress, signals
MOST_STEPS_PER_CALL = 100


def train(job: PreparedRun, storage: RunStorage, reporter: Reporter) -> Manifest:
    """Carries out a job, from its last checkpoint if there is one; returns the finished manifest.

    Raises:
        HeldError: another process has taken the run over.
        DivergedError: a loss or gradient was not finite; names the last good checkpoint.
        InterruptedRunError: Ctrl-C or SIGTERM here or on another host, after saving a checkpoint.
        ConfigurationError: the checkpoints there are of another model.
        MissingError: there are checkpoints, and all are damaged.
        ScalecliError: the disk is full, it or the bucket can't be written, or another host is gone; earlier checkpoints
            stay.
    """
    run = _LoopState(job, storage, reporter)
    with job.devices.watched(), asked_to_stop() as asked:
        try:
            run.restore()
            run.save_manifest(status="running", finished=None)
            run.store_records()  # a bucket that can't be written is found before anything is computed
            if run.step and run.is_due(job.saving.validate_every) and run.step not in run.manifest.results:
                run.validate()  # the run was stopped between the checkpoint and this
            while run.step < job.manifest.steps:
                run.profile()
                run.train_until(run.next_stop())
                stopping = run.is_any(asked()) and run.step < job.manifest.steps
                if run.is_due(job.saving.checkpoint_every) or run.step in job.saving.named or stopping:
                    run.save_checkpoint()
                if run.is_due(job.saving.validate_every) and not stopping:
                    run.validate()
                if stopping:
                    run.finish_saving()
                    raise InterruptedRunError(
                        f"{storage.address}: interrupted after step {run.step:,} of {job.manifest.steps:,}, which is "
                        "saved; the same command goes on from there"
                    )
            run.profile()
            run.finish_saving()
            run.trust_checkpoint()
            run.finish_saving()
        except HeldError:
            raise  # the manifest is the other process's
        except InterruptedRunError:
            run.record_end("interrupted")
            run.wait_for_all()
            raise
        except KeyboardInterrupt:  # the second one, which nothing is waited for
            run.record_end("interrupted", at_once=True)
            raise
        except BaseException:
            run.record_end("failed")
            raise
        run.save_manifest(status="completed", finished=utc_now())
        run.store_records()
        run.wait_for_all()
    return run.manifest


class _LoopState:
    """The state of a run while it is carried out."""

    def __init__(self, job: PreparedRun, storage: RunStorage, reporter: Reporter) -> None:
        self.job, self.storage, self.reporter = job, storage, reporter
        self.manifest = job.manifest
        self.step = 0
        self._devices = job.devices
        check_batch(self.manifest.batch, self.manifest.accumulation, self._devices.replicas)
        self._optimizer = self._devices.new_optimizer(job.new_optimizer, job.model)
        self._steps = new_steps(
            self._devices,
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
        self._records, self._checkpoints = Records(storage.directory), RunCheckpoints(storage, job.saving)

    def restore(self) -> None:
        """Takes up the newest checkpoint that is whole, or that to start from, and forgets figures of later steps."""
        self.step = self._checkpoints.restore(self._weights, self._state, self.reporter.message)
        results = {step: figures for step, figures in self.manifest.results.items() if step <= self.step}
        self.manifest = replace(self.manifest, results=results, best=_best(results, self.job.best))
        if self.step:
            resumed = f"resumed at step {self.step} on {utc_now()}"
            self.manifest = replace(self.manifest, warnings=[*self.manifest.warnings, resumed])
        elif self.job.start is not None:
            load_checkpoint(self.job.start, self._weights, self._state)
            self.step = self.manifest.start_step
        if self.step:
            self.reporter.message(f"{self.storage.address}: going on from step {self.step:,}")
        if self._devices.chief and (damaged := self._records.forget_after(self.step)):
            self.reporter.message(damaged)
            self.manifest = replace(self.manifest, warnings=[*self.manifest.warnings, damaged])

    def record_end(self, status: str, at_once: bool = False) -> None:
        """Records how the run ended; errors here are ignored, since the original error matters more."""
        if not at_once:
            with contextlib.suppress(Exception):
                self.finish_saving()
        with contextlib.suppress(Exception):
            self.save_manifest(status=status, finished=utc_now())
            if not at_once:
                self.store_records()

    def wait_for_all(self) -> None:
        """Returns when all hosts have come this far: none leaves while another still writes."""
        self._devices.highest([0.0])

    def next_stop(self) -> int:
        """The next step at which something is due."""
        saving, steps = self.job.saving, self.manifest.steps
        regular = [self.step - self.step % n + n for n in (saving.validate_every, saving.checkpoint_every)]
        special = (*saving.named, *(saving.profile or ()))
        return min([steps, *regular, *(step for step in special if step > self.step)])

    def profile(self) -> None:
        """Starts or stops the profiler, if that is due at this step."""
        start, stop = self.job.saving.profile or (None, None)
        if self.step == start:
            self._devices.start_profiler(str(self.storage.directory / TENSORBOARD))
        if self.step == stop:
            self._devices.stop_profiler()
            folder = f"{self.storage.address}/{TENSORBOARD}"
            self.reporter.message(f"profiled steps {start:,} to {stop:,}: tensorboard --logdir {folder}")

    def is_due(self, every: int) -> bool:
        """Whether something that happens every so many steps, and at the end, is to happen now."""
        return self.step % every == 0 or self.step == self.manifest.steps

    def is_any(self, asked: bool) -> bool:
        """Whether any host is asked to stop: all must do the same."""
        return self._devices.highest([float(asked)])[0] > 0

    def train_until(self, stop: int) -> None:
        """Runs one call of the compiled function, at most up to step `stop`."""
        if self._batches is None:
            self._batches = self._devices.batches(self.job.batches, self.step)
        count = min(stop - self.step, self._steps_per_call)
        start = time.perf_counter()
        figures = self._steps.run(self._batches, count)
        (seconds,) = self._devices.highest([time.perf_counter() - start])
        self.storage.check_hold()  # before anything is written
        finite = np.isfinite(figures.losses) & np.isfinite(figures.norms)
        good = count if finite.all() else int(np.argmin(finite))
        rate = float(self.job.schedule.rate(self.step + good - 1))
        if self._devices.chief:
            speeds = self._speed_figures(count / seconds if self._compiled else None, figures)
            self._records.append_steps(self.step, figures.first(good), rate, speeds)
        if good < count:
            last = self.step + good
            raise self._diverged(f"the loss or its gradient is not finite at step {last + 1:,}", weights_of=last)
        self.trust_checkpoint()
        self.step += count
        speed = None
        if self._compiled:  # the first call compiles, which is no part of the speed
            self._timed_steps, self._timed_seconds = self._timed_steps + count, self._timed_seconds + seconds
            per_call = round(SECONDS_PER_CALL * count / seconds)
            self._steps_per_call = max(1, min(per_call, MOST_STEPS_PER_CALL))
            speed = self._throughput(count / seconds)
        self._compiled = True
        self.reporter.progress(
            Progress(
                step=self.step,
                steps=self.manifest.steps,
                loss=float(figures.losses.mean()),
                loss_steps=count,
                speed=speed,
                input_wait=min(float(figures.waits.sum()) / seconds, 1.0),
            )
        )

    def _speed_figures(self, steps_per_s: float | None, figures: StepMetrics) -> dict[str, float]:
        """What metrics.jsonl and TensorBoard have of a call's speed, by name; without `steps_per_s` it compiled."""
        speeds = vars(self._throughput(steps_per_s)) if steps_per_s else {}
        others = {"input_wait_s": float(figures.waits.mean()), "device_memory_bytes": self._devices.memory_bytes()}
        return {name: value for name, value in (speeds | others).items() if value is not None}

    def validate(self) -> None:
        """Measures the model, and notes the results."""
        results = self.job.validate()
        if not np.isfinite(list(results.values())).all():
            raise self._diverged(f"a validation is not finite after step {self.step:,}", weights_of=self.step)
        every = {**self.manifest.results, self.step: results}
        self.manifest = replace(self.manifest, results=every, best=_best(every, self.job.best))
        if self._devices.chief:
            self._records.append([{"step": self.step, **results}])
            self._records.show(self.step, results)
        self.save_manifest()
        self.reporter.results(self.step, results)

    def save_checkpoint(self) -> None:
        """Copies the present step from the devices; it is stored while training goes on.

        The one before is waited for. It has given losses since, and is trusted now if it was under way until now.
        """
        self.finish_saving()
        self.trust_checkpoint()
        weights, state = (self._devices.numpy(variables) for variables in (self._weights, self._state))
        if self._devices.chief:
            self._checkpoints.save(self.step, weights, state, self.manifest)

    def store_records(self) -> None:
        """Stores the manifest, and what was recorded, as they now are."""
        if self._devices.chief:
            self.storage.store_records()

    def finish_saving(self) -> None:
        """Waits for the checkpoint that is being written, and notes which are there."""
        if self._devices.chief and (entry := self._checkpoints.finish()):
            self.save_manifest(checkpoints=entry)

    def trust_checkpoint(self) -> None:
        """Removes old checkpoints, now that the newest has given a loss, and notes which stay."""
        best = self.manifest.best
        if self._devices.chief and (entry := self._checkpoints.trust(best.step if best else None)):
            self.save_manifest(checkpoints=entry)

    def save_manifest(self, **changes: Any) -> None:
        """Writes the manifest as it now is."""
        if self._timed_steps:
            changes["throughput"] = self._throughput(self._timed_steps / self._timed_seconds)
        self.manifest = replace(self.manifest, **changes)
        if self._devices.chief:
            save_manifest(self.manifest, self.storage.directory)

    def _throughput(self, steps_per_s: float) -> Throughput:
        flops, peak = self.manifest.flops.training_total, self.job.peak_flops
        steps = self.manifest.steps - self.manifest.start_step
        utilisation = steps_per_s * flops / steps / peak if flops and peak else None
        return Throughput(
            steps_per_s=steps_per_s,
            tokens_per_s=steps_per_s * self.job.positions_per_step,
            model_flops_utilisation=utilisation,
        )

    def _diverged(self, what: str, weights_of: int) -> DivergedError:
        with contextlib.suppress(ScalecliError):  # a full disk is not what ends the run
            self.finish_saving()
        last = "no good checkpoint yet"
        if good := self._checkpoints.steps_before(weights_of):
            last = f"the last good checkpoint is {self.storage.address}/{CHECKPOINTS}/{good[-1]:08d}"
        return DivergedError(f"{self.storage.address}: {what}; {last}")


def _best(results: Mapping[int, Mapping[str, float]], rule: str) -> Best | None:
    measured = {step: figures[rule] for step, figures in results.items() if rule in figures}
    if not measured:
        return None
    return Best(step=max(measured, key=lambda step: measured[step]), rule=f"highest {rule}")
