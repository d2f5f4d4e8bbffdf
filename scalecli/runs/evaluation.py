"""One evaluation of a run's checkpoints, from its command to a manifest of its own, whatever is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

from scalecli.devices import AUTOMATIC, Devices, Request, open_devices
from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.manifest import (
    Best,
    Checkpoints,
    Data,
    ImageData,
    Manifest,
    Scalar,
    load_manifest,
    save_manifest,
)
from scalecli.runs.directory import held_storage
from scalecli.runs.recipe import environment
from scalecli.runs.trained import Trained, open_trained
from scalecli.storage.files import is_remote
from scalecli.storage.layout import MANIFEST, resolve_from
from scalecli.storage.run_storage import RunStorage
from scalecli.times import utc_now
from scalecli.training.checkpoints import checkpoint_steps
from scalecli.training.reporting import Reporter


@dataclass(frozen=True)
class Evaluation:
    """Checkpoints of one run to measure, on how many examples at once, and where the results go."""

    checkpoints: tuple[Trained, ...]
    batch: int
    storage: RunStorage
    cache_directory: Path
    command_line: str
    devices: Request = AUTOMATIC

    @property
    def trained(self) -> Trained:
        """The last checkpoint."""
        return self.checkpoints[-1]


@dataclass(kw_only=True)
class MeasuredInputs:
    """What a measure reads, opened: what the manifest says of it, and how a model is measured on it.

    `examples` are measured at each checkpoint. `on(model)` gives the function that measures the model with the weights
    of a step, its argument. `best`: see `training.job.PreparedRun`; None where no step is named.
    """

    data: Data | ImageData
    objective: dict[str, Scalar]
    examples: int
    on: Callable[[Any], Callable[[int], dict[str, float]]]
    best: str | None = None
    warnings: list[str] = field(default_factory=list)


Inputs = TypeVar("Inputs", bound=MeasuredInputs, covariant=True)


class Measurement(Protocol[Inputs]):
    """What can be measured of a run's checkpoints."""

    def open(self, job: Evaluation, devices: Devices, reporter: Reporter) -> Inputs:
        """Opens what is read, for batches of `job.batch`. Raises ScalecliError of the kind that says what is wrong."""


def evaluate(job: Evaluation, measure: Measurement[Inputs], reporter: Reporter) -> tuple[Manifest, Inputs]:
    """Measures each checkpoint of a run and writes a manifest. Returns the manifest, and the inputs that were read.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`).
    """
    job.storage.connect()
    devices = open_devices(job.devices)
    job = replace(job, batch=devices.divisible(job.batch))
    with held_storage(job.storage, devices, reporter.message):
        check_replaceable(job.storage)
        return _evaluate(job, measure, devices, reporter)


def _evaluate(
    job: Evaluation, measure: Measurement[Inputs], devices: Devices, reporter: Reporter
) -> tuple[Manifest, Inputs]:
    from scalecli.models.building import new_model

    created = utc_now()
    inputs = measure.open(job, devices, reporter)
    spec, precision = job.trained.spec, job.trained.manifest.precision
    model = devices.new_model(lambda: new_model(spec, precision))
    measured = inputs.on(model)
    results, seconds = {}, 0.0
    for checkpoint in job.checkpoints:
        checkpoint.load_into(model)
        start = time.perf_counter()
        results[checkpoint.step] = measured(checkpoint.step)
        seconds += time.perf_counter() - start
    manifest = _manifest(job, inputs, results, len(results) * inputs.examples / seconds, created)
    save_manifest(manifest, job.storage.directory)
    if devices.chief:
        job.storage.store_records()
    return manifest, inputs


def _manifest(
    job: Evaluation, inputs: MeasuredInputs, results: dict[int, dict[str, float]], examples_per_s: float, created: str
) -> Manifest:
    """The manifest of an evaluation: the run's own, with the results and the data that they are of."""
    run, data = job.trained.manifest, inputs.data
    measured = {step: values[inputs.best] for step, values in results.items() if inputs.best and inputs.best in values}
    if isinstance(data, Data):
        file = resolve_from(f"{resolved(job.trained)}/{MANIFEST}", data.vocabulary.file)
        data = replace(data, vocabulary=replace(data.vocabulary, file=file))
    return replace(
        run,
        kind="eval",
        name=f"{run.name}:{data.name}",
        status="completed",
        created=created,
        finished=utc_now(),
        command_line=job.command_line,
        parent=job.trained.as_parent(job.storage),
        origin=None,
        flops=replace(run.flops, training_total=None),
        data=data,
        objective=inputs.objective,
        batch=job.batch,
        accumulation=1,
        steps=job.trained.step,
        start_step=job.checkpoints[0].step,
        checkpoints=Checkpoints(directory=run.checkpoints.directory),
        results=results,
        best=Best(step=max(measured, key=measured.__getitem__), rule=f"highest {inputs.best}")
        if len(measured) > 1
        else None,
        throughput=None,
        examples_per_s=examples_per_s,
        environment=environment(),
        warnings=list(inputs.warnings),
    )


def open_checkpoints(path: str, which: str | None, cache_directory: Path) -> tuple[Trained, ...]:
    """The checkpoints of a run: `all`, the `best`, the `last`, or that of a step; None is the last, or the path's own.

    Raises:
        MissingError: there is no run, or no such checkpoint.
        ConfigurationError: the manifest is not valid, or `which` is none of these.
    """
    if which is not None and which not in ("all", "best", "last") and not which.isdecimal():
        raise ConfigurationError(f"checkpoints: {which!r}; accepted: all, best, last, or the number of a step")
    last = open_trained(path, cache_directory)
    if which == "all":
        return tuple(replace(last, step=step) for step in checkpoint_steps(last.folder))
    if which == "best":
        if last.manifest.best is None:
            raise MissingError(f"{last.address}: the run names no best step; --checkpoints all finds it")
        return (open_trained(last.address, cache_directory, last.manifest.best.step),)
    if which is None:
        return (last,)
    return (open_trained(last.address, cache_directory, int(which) if which.isdecimal() else None),)


def default_storage(checkpoints: Sequence[Trained], measured: str) -> RunStorage:
    """The folder of results: one for each measurement, and for each step."""
    last = checkpoints[-1]
    return last.storage.at(f"eval/{measured}-{last.step if len(checkpoints) == 1 else 'all'}")


def check_replaceable(storage: RunStorage) -> None:
    """Checks that the directory holds nothing but earlier results.

    Raises:
        ConfigurationError: it holds a training run, or a manifest that can't be read.
    """
    if not (storage.directory / MANIFEST).exists():
        return
    another = "choose another directory by --run"
    try:
        kind = load_manifest(storage.directory).kind
    except ScalecliError as error:
        raise ConfigurationError(f"{storage.address}: what is there can't be replaced ({error}); {another}") from error
    if kind != "eval":
        raise ConfigurationError(f"{storage.address}: holds a {kind} run, which results would overwrite; {another}")


def resolved(trained: Trained) -> str:
    """A run's address, without links if it is a path."""
    return trained.address if is_remote(trained.address) else str(trained.storage.directory.resolve())
