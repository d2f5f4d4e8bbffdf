"""Finetuning: a pretrained run, text to text, on one task or on a mixture of several."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

from scalecli.data.sources import OnWork, silent
from scalecli.data.tasks.batches import Encoded, FinetuningBatches
from scalecli.data.tasks.mixing import Mixing
from scalecli.data.tasks.task import Task
from scalecli.data.text.vocabulary import Vocabulary, unknown_share, unknown_warning
from scalecli.devices import Devices
from scalecli.errors import ConfigurationError
from scalecli.evaluation.aggregates import MEAN_OVER_TASKS
from scalecli.manifest import Data
from scalecli.runs.directory import keep_vocabulary, vocabulary_entry
from scalecli.runs.tasks.examples import TaskData, described, read_tasks, remarks, task_identity
from scalecli.runs.trained import Trained
from scalecli.runs.training import TrainingInputs, TrainingJob
from scalecli.training.reporting import Reporter

if TYPE_CHECKING:
    from scalecli.evaluation.tasks import TaskScores, TaskSplit

_SHOWN_TEXTS, _SHOWN_CHARACTERS = 3, 40


@dataclass(frozen=True, kw_only=True)
class Finetuning(TrainingJob):
    """A pretrained run, text to text, on one task or a mixture of several. The optimizer starts anew.

    `name` is the mixture's, or the one task's. `packed` puts several examples into a row.

    Raises:
        ConfigurationError: a value out of range, or no task with training or with validation examples.
    """

    kind = "finetune"
    parent: Trained
    name: str
    tasks: tuple[Task, ...]
    mixing: Mixing
    packed: bool
    evaluation_batch: int

    def __post_init__(self) -> None:
        if self.evaluation_batch < 1:
            raise ConfigurationError(f"evaluation_batch is {self.evaluation_batch}; 1 or more is accepted")
        for split, tasks in (("train", self.trained_on), ("validation", self.measured_on)):
            if not tasks:
                raise ConfigurationError(f"task {self.name}: it has no {split} examples")

    @property
    def trained_on(self) -> list[Task]:
        """The tasks that have training examples; MNLI's mismatched half has none."""
        return [task for task in self.tasks if task.has("train")]

    @property
    def measured_on(self) -> list[Task]:
        """The tasks that have validation examples."""
        return [task for task in self.tasks if task.has("validation")]

    def lengths(self) -> tuple[int, int]:
        """The most tokens that a row's inputs and targets may have: those of the longest task."""
        tasks = self.trained_on
        return max(task.inputs_length for task in tasks), max(task.targets_length for task in tasks)

    @property
    def padding_reason(self) -> str | None:
        """Why rows are padded although they were to be packed, or None."""
        refused = self.parent.spec.why_not_packed() if self.packed else None
        return f"rows are padded, not packed: {refused}" if refused else None

    @property
    def packs(self) -> bool:
        """Whether several examples go into a row."""
        return self.packed and not self.padding_reason

    @cached_property
    def training(self) -> TaskData:
        """The training examples, read once. Raises ScalecliError for data that can't be read."""
        return read_tasks(self.trained_on, "train")

    @cached_property
    def rates(self) -> dict[str, float]:
        """The share of each task among training examples. Raises as `training` and `Mixing.rates` do."""
        return self.mixing.rates({name: len(examples) for name, examples in self.training.examples.items()})

    def initial(self) -> Trained:
        """The pretrained run."""
        return self.parent

    def open(self, initial: Trained | None, devices: Devices, reporter: Reporter) -> TrainingInputs:
        """Reads and encodes the examples; says what was left out or cut."""
        from scalecli.evaluation.tasks import TaskEvaluation, TaskInputs, TaskSplit, figures

        vocabulary = self.parent.vocabulary(self.cache_directory)
        batches, warnings = training_batches(self, vocabulary, reporter.working)
        measured = read_tasks(self.measured_on, "validation")
        tests = [TaskSplit(task, measured.examples[task.name]) for task in self.measured_on]
        inputs = TaskInputs(tests, "validation", vocabulary, devices.divisible(self.evaluation_batch), reporter.working)
        warnings += [*measured.warnings, *inputs.warnings, *remarks(self.measured_on)]

        def validation(model: Any) -> Callable[[], dict[str, float]]:
            evaluation = TaskEvaluation(model, inputs, devices=devices)

            def validate() -> dict[str, float]:
                scores = evaluation(reporter.examples)
                for test in tests:
                    if note := zero_note(test, scores[test.task.name]):
                        reporter.message(note)
                return figures(scores, self.tasks)

            return validate

        first = self.measured_on[0]
        inputs_length, targets_length = batches.lengths
        return TrainingInputs(
            spec=self.parent.text_spec,
            shape=self.parent.shape,
            data=Data(
                name=self.name,
                kind="task",
                identity=task_identity(self.tasks, ("train", "validation")),
                inputs_length=inputs_length,
                targets_length=targets_length,
                packed=self.packs,
                vocabulary=vocabulary_entry(vocabulary, self.parent.text_data().vocabulary.name),
                **described(self.tasks),
                documents=sum(map(len, self.training.examples.values())),
                rates=self.rates if len(self.rates) > 1 else None,
                unknown=batches.unknown,
            ),
            warnings=warnings,
            batches=batches,
            best=f"{first.name}/{first.metrics[0]}" if len(self.tasks) == 1 else MEAN_OVER_TASKS,
            keep=partial(keep_vocabulary, vocabulary),
            validation=validation,
        )


def zero_note(test: TaskSplit, scores: TaskScores) -> str | None:
    """A line that sets predictions without any score beside what is expected; None where there is a score."""
    if not scores.scores or any(score.value > 0 for score in scores.scores.values()):
        return None
    predicted = Counter(text[:_SHOWN_CHARACTERS] for text in scores.predictions).most_common(_SHOWN_TEXTS)
    expected = test.task.labels or [example.target for example in test.examples]
    return (
        f"{test.task.name}: no score above 0. Of {len(scores.predictions):,} predictions the most frequent are "
        + ", ".join(f"{text!r} ({count:,} times)" for text, count in predicted)
        + "; expected are texts such as "
        + ", ".join(repr(text[:_SHOWN_CHARACTERS]) for text in expected[:_SHOWN_TEXTS])
    )


def training_batches(
    job: Finetuning, vocabulary: Vocabulary, on_work: OnWork = silent
) -> tuple[FinetuningBatches, list[str]]:
    """The batches of a run, and warnings: what was left out or cut, or is less than the whole data set.

    Raises:
        ScalecliError: data that can't be read, or rates that are not valid.
    """
    encoded, warnings = {}, list(job.training.warnings)
    for task in job.trained_on:
        examples = job.training.examples[task.name]
        lengths = task.inputs_length, task.targets_length
        ids = encoded[task.name] = Encoded.of(examples, vocabulary, lengths, on_work)
        for side, cut, length in zip(("inputs", "targets"), (ids.inputs_cut, ids.targets_cut), lengths, strict=True):
            if cut:
                warnings.append(f"{task.name}, train: {cut:,} of {len(examples):,} {side} cut to {length} tokens")
        warnings += unknown_warning(f"{task.name}, train", unknown_share(ids.sequences))
        if task.examples not in (None, len(examples)):
            warnings.append(f"{task.name}, train: {len(examples):,} examples; the whole set has {task.examples:,}")
    if job.padding_reason:
        warnings.append(job.padding_reason)
    batch, seed = job.recipe.batch, job.recipe.seed
    pooled = job.parent.text_spec.encoder.pooled
    made = FinetuningBatches(encoded, job.rates, job.lengths(), batch=batch, seed=seed, packed=job.packs, pooled=pooled)
    return made, warnings


def example_batches(job: Finetuning) -> tuple[Iterator[Mapping[str, Any]], Vocabulary, list[str]]:
    """The batches from the first on as NumPy arrays with the index of each row's task, the vocabulary, the tasks."""
    vocabulary = job.parent.vocabulary(job.cache_directory)
    batches, _ = training_batches(job, vocabulary)
    return batches.named().as_numpy_iterator(), vocabulary, batches.names
