"""Finetuning: a pretrained run, text to text, on one task."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from scalecli.data.finetuning import finetuning_batches
from scalecli.data.tasks import Task, read_examples
from scalecli.errors import ConfigurationError
from scalecli.manifest import Data, Manifest
from scalecli.runs.directory import Trained, keep_vocabulary, prepare_directory, take_up, vocabulary_entry
from scalecli.runs.recipe import Recipe, build_model, new_manifest, require_tensorflow
from scalecli.training.checkpoints import Saving

if TYPE_CHECKING:
    from scalecli.training.loop import Reporter


@dataclass(frozen=True)
class Finetuning:
    """All that a finetuning run is told. `packed` puts several examples into a row."""

    parent: Trained
    task: Task
    packed: bool
    recipe: Recipe
    saving: Saving
    evaluation_batch: int
    directory: Path
    cache_directory: Path
    command_line: str
    peak_flops: float | None = None

    def __post_init__(self) -> None:
        if self.evaluation_batch < 1:
            raise ConfigurationError(f"evaluation_batch is {self.evaluation_batch}; 1 or more is accepted")


def task_identity(task: Task) -> str:
    """A hash of the contents of the task's files: its dataset version."""
    return hashlib.sha256(json.dumps(task.versions(), sort_keys=True).encode()).hexdigest()


def finetune(job: Finetuning, reporter: Reporter) -> Manifest:
    """Carries out a finetuning run, or goes on with it, in its directory; returns the finished manifest.

    The optimizer starts anew. The task's validation examples are decoded and scored at every validation.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`); a run that was under way is saved as far as
            its last checkpoint.
    """
    from scalecli.training.loop import Job, train

    require_tensorflow()
    prepare_directory(job.directory)
    vocabulary = job.parent.vocabulary(job.cache_directory)
    task = job.task
    training, validation = read_examples(task, "train"), read_examples(task, "validation")
    batches = partial(
        finetuning_batches,
        training,
        vocabulary,
        inputs_length=task.inputs_length,
        targets_length=task.targets_length,
        batch=job.recipe.batch,
        seed=job.recipe.seed,
        packed=job.packed,
    )
    manifest = new_manifest(
        "finetune",
        name=job.directory.name,
        spec=job.parent.spec,
        shape=job.parent.shape,
        data=Data(
            name=task.name,
            kind="task",
            identity=task_identity(task),
            inputs_length=task.inputs_length,
            targets_length=task.targets_length,
            packed=job.packed,
            vocabulary=vocabulary_entry(vocabulary, job.parent.manifest.data.vocabulary.name),
            task=task.to_dict(),
            documents=len(training),
        ),
        recipe=job.recipe,
        command_line=job.command_line,
        parent=job.parent.as_parent(job.directory),
    )
    manifest = take_up(manifest, job.directory)
    if manifest.status == "completed":
        reporter.message(f"{job.directory}: already complete")
        return manifest
    keep_vocabulary(vocabulary, job.directory)
    model = build_model(job.parent.spec, job.recipe)
    job.parent.load_into(model)

    from scalecli.evaluation.tasks import TaskEvaluation

    evaluation = TaskEvaluation(model, vocabulary, task, validation, job.evaluation_batch)
    return train(
        Job(
            manifest=manifest,
            model=model,
            schedule=job.recipe.schedule,
            saving=job.saving,
            batches=lambda step: batches(start_step=step)[0],
            validate=lambda: evaluation(reporter.examples).results,
            best=f"{task.name}/{task.metrics[0]}",
            tokens_per_step=job.recipe.batch * (task.inputs_length + task.targets_length),
            peak_flops=job.peak_flops,
        ),
        job.directory,
        reporter,
    )
