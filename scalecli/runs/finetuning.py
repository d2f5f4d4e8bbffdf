"""Finetuning: a pretrained run, text to text, on one task or on a mixture of several."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalecli.data.finetuning import Encoded, FinetuningBatches
from scalecli.data.mixing import Mixing
from scalecli.data.tasks import Task
from scalecli.data.vocabulary import Vocabulary, unknown_share, unknown_warning
from scalecli.devices import AUTOMATIC, Request, open_devices
from scalecli.errors import ConfigurationError
from scalecli.manifest import Data, Manifest
from scalecli.runs.directory import Trained, keep_vocabulary, prepare_place, take_up, vocabulary_entry
from scalecli.runs.recipe import Recipe, build_model, new_manifest
from scalecli.runs.task_data import TaskData, described, read_tasks, task_identity
from scalecli.training.checkpoints import Saving
from scalecli.training.places import Place

if TYPE_CHECKING:
    from scalecli.training.reporting import Reporter


@dataclass(frozen=True)
class Finetuning:
    """All that a finetuning run is told.

    `name` is the mixture's, or the one task's. `packed` puts several examples into a row. `inputs_length` and
    `targets_length` are those of the longest task.

    Raises:
        ConfigurationError: a value that can't be, or tasks that nothing can be learned from or measured on.
    """

    parent: Trained
    name: str
    tasks: tuple[Task, ...]
    mixing: Mixing
    packed: bool
    recipe: Recipe
    saving: Saving
    evaluation_batch: int
    place: Place
    cache_directory: Path
    command_line: str
    peak_flops: float | None = None
    devices: Request = AUTOMATIC

    def __post_init__(self) -> None:
        if self.evaluation_batch < 1:
            raise ConfigurationError(f"evaluation_batch is {self.evaluation_batch}; 1 or more is accepted")
        for split, found in (("train", self.trained_on), ("validation", self.measured_on)):
            if not found:
                raise ConfigurationError(f"task {self.name}: it has no {split} examples")

    @property
    def trained_on(self) -> list[Task]:
        """The tasks that have training examples; MNLI's mismatched half has none."""
        return [task for task in self.tasks if task.has("train")]

    @property
    def measured_on(self) -> list[Task]:
        """The tasks that have validation examples."""
        return [task for task in self.tasks if task.has("validation")]

    @property
    def inputs_length(self) -> int:
        """Tokens of a row's inputs."""
        return max(task.inputs_length for task in self.trained_on)

    @property
    def targets_length(self) -> int:
        """Tokens of a row's targets."""
        return max(task.targets_length for task in self.trained_on)

    @property
    def packing_refused(self) -> str | None:
        """Why rows are padded although they were to be packed, or None."""
        refused = self.parent.spec.packing_refused() if self.packed else None
        return f"rows are padded, not packed: {refused}" if refused else None

    @cached_property
    def training(self) -> TaskData:
        """The training examples, read once. Raises ScalecliError for data that can't be had."""
        return read_tasks(self.trained_on, "train")

    @cached_property
    def rates(self) -> dict[str, float]:
        """The share of each task among training examples. Raises as `training` and `Mixing.rates` do."""
        return self.mixing.rates({name: len(examples) for name, examples in self.training.examples.items()})


def training_batches(job: Finetuning, vocabulary: Vocabulary) -> tuple[FinetuningBatches, list[str]]:
    """The batches of a run, and what is to be known about them: what was left out or cut, or isn't the whole data set.

    Raises:
        ScalecliError: data that can't be had, or rates that can't be.
    """
    encoded, warnings = {}, list(job.training.warnings)
    for task in job.trained_on:
        examples = job.training.examples[task.name]
        lengths = {"inputs_length": task.inputs_length, "targets_length": task.targets_length}
        found = encoded[task.name] = Encoded.of(examples, vocabulary, **lengths)
        for side, cut in (("inputs", found.inputs_cut), ("targets", found.targets_cut)):
            if cut:
                length = lengths[f"{side}_length"]
                warnings.append(f"{task.name}, train: {cut:,} of {len(examples):,} {side} cut to {length} tokens")
        warnings += unknown_warning(f"{task.name}, train", unknown_share(found.sequences))
        if task.examples not in (None, len(examples)):
            warnings.append(f"{task.name}, train: {len(examples):,} examples; the whole set has {task.examples:,}")
    batches = FinetuningBatches(
        encoded,
        job.rates,
        inputs_length=job.inputs_length,
        targets_length=job.targets_length,
        batch=job.recipe.batch,
        seed=job.recipe.seed,
        packed=job.packed and not job.packing_refused,
    )
    return batches, [*warnings, *filter(None, [job.packing_refused])]


def example_batches(job: Finetuning) -> tuple[Iterator[Mapping[str, Any]], Vocabulary, list[str]]:
    """The batches from the first on as NumPy arrays with the place of each row's task, the vocabulary, the tasks."""
    vocabulary = job.parent.vocabulary(job.cache_directory)
    batches, _ = training_batches(job, vocabulary)
    return batches.named().as_numpy_iterator(), vocabulary, batches.names


def finetune(job: Finetuning, reporter: Reporter) -> Manifest:
    """Carries out a finetuning run, or goes on with it, in its directory; returns the finished manifest.

    The optimizer starts anew. The tasks' validation examples are decoded and scored at every validation; the best step
    is the best by the first metric of one task, or by the mean over several.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`); a run that was under way is saved as far as
            its last checkpoint.
    """
    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.training.job import Job
    from scalecli.training.loop import train

    devices = open_devices(job.devices)
    job.place.report = job.parent.place.report = reporter.fetched
    prepare_place(job.place, devices)
    vocabulary = job.parent.vocabulary(job.cache_directory)
    batches, warnings = training_batches(job, vocabulary)
    validation = read_tasks(job.measured_on, "validation")
    for warning in warnings:
        reporter.message(warning)
    manifest = new_manifest(
        "finetune",
        name=job.place.name,
        spec=job.parent.text_spec,
        shape=job.parent.shape,
        data=Data(
            name=job.name,
            kind="task",
            identity=task_identity(job.tasks, ("train", "validation")),
            inputs_length=job.inputs_length,
            targets_length=job.targets_length,
            packed=job.packed and not job.packing_refused,
            vocabulary=vocabulary_entry(vocabulary, job.parent.text_data().vocabulary.name),
            **described(job.tasks),
            documents=sum(map(len, job.training.examples.values())),
            rates=job.rates if len(job.rates) > 1 else None,
            unknown=batches.unknown,
        ),
        recipe=job.recipe,
        devices=devices,
        command_line=job.command_line,
        parent=job.parent.as_parent(job.place),
    )
    manifest = take_up(replace(manifest, warnings=[*warnings, *validation.warnings]), job.place)
    if manifest.status == "completed":
        reporter.message(f"{job.place.address}: already complete")
        return manifest

    from scalecli.evaluation.aggregates import MEAN_OVER_TASKS
    from scalecli.evaluation.tasks import TaskEvaluation, TaskSplit, figures

    tests = [TaskSplit(task, validation.examples[task.name]) for task in job.measured_on]
    keep_vocabulary(vocabulary, job.place.directory)
    model = build_model(EncoderDecoder, job.parent.text_spec, job.recipe, devices)
    job.parent.load_into(model)
    evaluation = TaskEvaluation(model, vocabulary, tests, devices.divisible(job.evaluation_batch), devices=devices)
    only = job.measured_on[0]
    return train(
        Job(
            manifest=manifest,
            devices=devices,
            model=model,
            schedule=job.recipe.schedule,
            new_optimizer=job.recipe.new_optimizer,
            saving=job.saving,
            batches=batches,
            validate=lambda: figures(evaluation(reporter.examples), job.tasks),
            best=f"{only.name}/{only.metrics[0]}" if len(job.tasks) == 1 else MEAN_OVER_TASKS,
            tokens_per_step=job.recipe.batch * (job.inputs_length + job.targets_length),
            peak_flops=job.peak_flops,
        ),
        job.place,
        reporter,
    )
