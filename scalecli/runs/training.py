"""One training run from its command to its finished manifest: pretraining on text or images, finetuning on tasks."""

from __future__ import annotations

import abc
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from scalecli.architectures.recorded import keep_code
from scalecli.devices import AUTOMATIC, Batches, Devices, Request, open_devices
from scalecli.errors import ConfigurationError
from scalecli.manifest import Data, ImageData, Manifest, Scalar
from scalecli.references import ModelReference
from scalecli.runs.directory import held_storage, resumed_manifest
from scalecli.runs.fitting import machine_of, memory_warning, precision_advice, precision_warning, time_note
from scalecli.runs.recipe import Recipe, batch_of_data, build_model, new_manifest
from scalecli.runs.trained import Trained, open_trained
from scalecli.shape import Shape
from scalecli.specs import ModelSpec
from scalecli.storage.layout import CHECKPOINTS, OPTIMIZER, WEIGHTS
from scalecli.storage.run_storage import RunStorage
from scalecli.training.checkpoints import Saving, checkpoint_steps
from scalecli.training.reporting import Reporter

if TYPE_CHECKING:
    from scalecli.data.images.source import ImageSource
    from scalecli.runs.text.source import TextSource


@dataclass(frozen=True, kw_only=True)
class TrainingInputs:
    """What a run reads, opened: what the manifest says of it, the batches, and how the model is validated.

    `batches(step, share)` and `best`: see `training.job.PreparedRun`. `keep(directory)` writes what the run's directory
    holds of the inputs. `validation(model)` gives the function that measures the model, on all hosts alike. Within
    `reading()` damaged data is an error of one line. `files` and `cached`, those of the cache, are read on every host.
    """

    spec: ModelSpec
    shape: Shape
    data: Data | ImageData
    batches: Batches
    best: str
    keep: Callable[[Path], None]
    validation: Callable[[Any], Callable[[], dict[str, float]]]
    reading: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    objective: dict[str, Scalar] | None = None
    warnings: Sequence[str] = ()
    files: Sequence[str] = ()
    cached: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class TrainingJob(abc.ABC):
    """The settings of every training run: how it trains, when it saves, and where it is stored."""

    kind: ClassVar[Literal["pretrain", "finetune"]]
    recipe: Recipe
    saving: Saving
    storage: RunStorage
    cache_directory: Path
    command_line: str
    peak_flops: float | None = None
    devices: Request = AUTOMATIC

    @abc.abstractmethod
    def initial(self) -> Trained | None:
        """The run that gives its weights, or None. Raises MissingError when it has no checkpoint."""

    def start(self) -> Trained | None:
        """The run that gives its step and its optimizer's state as well, or None."""
        return None

    @abc.abstractmethod
    def open(self, initial: Trained | None, devices: Devices, reporter: Reporter) -> TrainingInputs:
        """Opens what the run reads. Raises ScalecliError of the kind that says what is wrong."""


@dataclass(frozen=True, kw_only=True)
class PretrainingJob(TrainingJob):
    """A model to pretrain on the data of `source`.

    `validation_examples` is how many held-out examples are measured, or all if there are fewer. With `keep_optimizer` a
    run that is the start gives its step and its optimizer's state as well.
    """

    kind = "pretrain"
    model: ModelReference
    source: TextSource | ImageSource
    validation_examples: int
    keep_optimizer: bool = False

    def __post_init__(self) -> None:
        if self.validation_examples < 1:
            raise ConfigurationError(f"validation_examples is {self.validation_examples}; 1 or more is accepted")

    @abc.abstractmethod
    def lengths(self) -> tuple[int, int]:
        """Positions of an example's inputs and of its targets."""

    @abc.abstractmethod
    def planned_shape(self) -> Shape:
        """The shape with as many outputs as the data needs; without TensorFlow.

        Raises:
            MissingError: the data, or the checkpoint of the run to start from, is not there.
            ConfigurationError: a shape file's own figures don't go with the data.
        """

    def initial(self) -> Trained | None:
        """The run that gives its weights, or None. Raises MissingError when it has no checkpoint."""
        return open_trained(self.model.run, self.cache_directory) if self.model.run else None

    def start(self) -> Trained | None:
        """The run that gives its step and optimizer's state, or None.

        Raises:
            MissingError: it has no such state.
            ConfigurationError: it is another optimizer's.
        """
        start = self.initial() if self.keep_optimizer else None
        if start is not None:
            start.check_optimizer(self.recipe.optimizer)
        return start


def carry_out(job: TrainingJob, reporter: Reporter) -> Manifest:
    """Carries out a training run, or goes on with it, in its directory; returns the finished manifest.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`); a run that was under way is saved as far as
            its last checkpoint.
    """
    job.storage.connect()  # which takes less time to fail than TensorFlow to be imported
    devices = open_devices(job.devices)
    job.storage.report = reporter.fetched
    with held_storage(job.storage, devices, reporter.message):
        return _carry_out(job, devices, reporter)


def _carry_out(job: TrainingJob, devices: Devices, reporter: Reporter) -> Manifest:
    from scalecli.training.job import PreparedRun
    from scalecli.training.loop import train

    initial, start = job.initial(), job.start()
    for run in filter(None, (initial, start)):
        run.storage.report = reporter.fetched
    # For text, this trains the vocabulary and tokenizes.
    inputs = job.open(initial, devices, reporter)
    devices.send(inputs.cached)
    devices.check_readable(inputs.files)
    for warning in inputs.warnings:
        reporter.message(warning)
    manifest = new_manifest(
        job.kind,
        name=job.storage.name,
        spec=inputs.spec,
        shape=inputs.shape,
        data=inputs.data,
        recipe=job.recipe,
        devices=devices,
        command_line=job.command_line,
        parent=initial.as_parent(job.storage) if initial else None,
        objective=inputs.objective,
        start_step=start.step if start else 0,
    )
    manifest = resumed_manifest(replace(manifest, warnings=list(inputs.warnings)), job.storage)
    if manifest.status == "completed":
        reporter.message(f"{job.storage.address}: already complete")
        return manifest
    inputs.keep(job.storage.directory)
    keep_code(manifest.architecture, job.storage.directory)
    batch, machine = batch_of_data(inputs.spec, inputs.data, job.recipe.batch), machine_of(manifest)
    machine_warnings = (memory_warning(inputs.spec, batch, job.recipe, machine), precision_warning(job.recipe, machine))
    for warning in filter(None, machine_warnings):
        reporter.message(f"warning: {warning}")
        manifest = replace(manifest, warnings=list(dict.fromkeys((*manifest.warnings, warning))))
    steps_done = max(checkpoint_steps(job.storage.directory / CHECKPOINTS), default=manifest.start_step)
    if note := time_note(inputs.spec, batch, job.recipe, machine, manifest.steps - steps_done):
        reporter.message(note)
        is_new = steps_done == manifest.start_step  # a run keeps its precision to its end
        if is_new and (advice := precision_advice(job.recipe, machine)):
            reporter.message(advice)
    model = build_model(inputs.spec, job.recipe, devices)
    if initial:
        initial.load_into(model)
    validate = inputs.validation(model)  # for text, goes through all held-out targets for the baseline
    with inputs.reading():  # for a stream, reads its first window to time it
        return train(
            PreparedRun(
                manifest=manifest,
                devices=devices,
                model=model,
                schedule=job.recipe.schedule,
                new_optimizer=job.recipe.new_optimizer,
                saving=job.saving,
                batches=inputs.batches,
                validate=validate,
                best=inputs.best,
                positions_per_step=batch.tokens,
                peak_flops=job.peak_flops,
                start=start.fetched(WEIGHTS, OPTIMIZER) if start else None,
            ),
            job.storage,
            reporter,
        )


def with_outputs(model: ModelReference, field: str, count: int, least: int, data: str) -> Shape:
    """The shape with `count` of what the model chooses from, its `field`, or with as many as a shape file states.

    Raises:
        ConfigurationError: the shape file states less than `least`, which the `data` need.
    """
    if not model.fixes_output_size:
        return model.shape.changed(**{field: count})
    stated = getattr(model.shape, field) or 0
    if stated < least:
        raise ConfigurationError(
            f"the shape file states {field}: {stated}, too few for {data}; leave it out, or state {count}"
        )
    return model.shape
