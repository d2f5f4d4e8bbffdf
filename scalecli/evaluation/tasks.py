"""Scoring a model on tasks: a prediction for every example, and each task's metrics of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from scalecli.data.sources import OnWork, silent
from scalecli.data.tasks.batches import EvaluationBatch, bucket, encode, evaluation_batches
from scalecli.data.tasks.task import Example, Task
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.devices import Mapped
from scalecli.devices.one_device import ONE_DEVICE
from scalecli.evaluation.aggregates import aggregates
from scalecli.evaluation.decoding.beam_search import beam_decoder
from scalecli.evaluation.decoding.greedy import greedy_decoder
from scalecli.evaluation.decoding.ranking import label_ranker
from scalecli.evaluation.metrics import Score, baseline, score
from scalecli.models.encoder_decoder import EncoderDecoder

OnProgress = Callable[[int, int], None]  # examples done, examples in all
Predict = Callable[[np.ndarray], list[str]]  # inputs [batch, bucket] to texts [batch]

_FEWEST_TOKENS = 8


@dataclass(frozen=True)
class TaskSplit:
    """A task and the examples that it is tested on.

    Raises:
        ConfigurationError: the task's metrics can't score them.
    """

    task: Task
    examples: list[Example]

    def __post_init__(self) -> None:
        _ = self.baseline  # raises before anything is predicted

    @cached_property
    def baseline(self) -> dict[str, float]:
        """The score of the best constant prediction by metric: what there is to beat."""
        return baseline(self._metrics, self.examples, self.task.labels)

    def score(self, predictions: Sequence[str]) -> dict[str, Score]:
        """Each metric of predictions, one for each example; none where the labels aren't published."""
        return score(self._metrics, predictions, self.examples, self.task.labels)

    def invalid(self, predictions: Sequence[str]) -> int:
        """How many predictions are none of the task's labels, if it has labels."""
        return sum(text.strip() not in self.task.labels for text in predictions) if self.task.labels else 0

    @property
    def _metrics(self) -> tuple[str, ...]:
        return self.task.metrics if all(example.is_labeled for example in self.examples) else ()


@dataclass(frozen=True)
class TaskScores:
    """A model's predictions on a task, in the order of the examples, and the score of each metric."""

    predictions: list[str]
    scores: dict[str, Score]


class TaskInputs:
    """The inputs of test sets as ids, in batches of few shapes; `warnings` say of which tasks some had to be cut."""

    def __init__(
        self,
        tests: Sequence[TaskSplit],
        split: str,
        vocabulary: Vocabulary,
        batch: int,
        on_work: OnWork = silent,
    ) -> None:
        self.tests, self.vocabulary = tests, vocabulary
        self.batches: list[list[EvaluationBatch]] = []
        self.examples = sum(len(test.examples) for test in tests)
        self.warnings: list[str] = []
        for test in tests:
            length = test.task.inputs_length
            texts = [example.input for example in test.examples]
            batches, cut = evaluation_batches(texts, vocabulary, inputs_length=length, batch=batch, on_work=on_work)
            self.batches.append(batches)
            if cut:
                cut_inputs = f"{cut:,} of {len(texts):,} inputs cut to {length} tokens"
                self.warnings.append(f"{test.task.name}, {split}: {cut_inputs}")


class TaskEvaluation:
    """Scores a model on test sets, decoding with `beams` (1: greedily) or, `ranked`, by the likeliest label.

    Each shape of inputs is compiled once, whatever the weights.
    """

    def __init__(
        self,
        model: EncoderDecoder,
        inputs: TaskInputs,
        ranked: bool = False,
        beams: int = 1,
        devices: Mapped = ONE_DEVICE,
    ) -> None:
        self._model, self._inputs, self._vocabulary, self._devices = model, inputs, inputs.vocabulary, devices
        self._ranked, self._beams = ranked, beams
        self._decoders: dict[int, Callable[[np.ndarray], np.ndarray]] = {}
        self._predictors = [self._predictor(test.task) for test in inputs.tests]

    def __call__(self, on_progress: OnProgress = lambda done, total: None) -> dict[str, TaskScores]:
        """Predicts every example with the model's present weights, and scores the predictions, by task."""
        done, scores = 0, {}
        for test, predict, batches in zip(self._inputs.tests, self._predictors, self._inputs.batches, strict=True):
            predictions = [""] * len(test.examples)
            for batch in batches:
                # Behind the numbered rows are empty ones that pad the last batch.
                for number, text in zip(batch.numbers.tolist(), predict(batch.inputs), strict=False):
                    predictions[number] = text
                done += len(batch.numbers)
                on_progress(done, self._inputs.examples)
            scores[test.task.name] = TaskScores(predictions, test.score(predictions))
        return scores

    def _predictor(self, task: Task) -> Predict:
        if self._ranked and task.labels:
            labels, _ = encode(task.labels, self._vocabulary, task.targets_length)
            rank, texts = label_ranker(self._model, labels, self._devices), task.labels
            return lambda inputs: [texts[label] for label in rank(inputs)]
        # What comes later changes nothing before it, so tasks can share a decoder of the next power of two.
        length = bucket(task.targets_length, _FEWEST_TOKENS)
        if length not in self._decoders:
            self._decoders[length] = self._decoder(length)
        decode = self._decoders[length]
        return lambda inputs: [self._vocabulary.decode(row[: task.targets_length]) for row in decode(inputs)]

    def _decoder(self, length: int) -> Callable[[np.ndarray], np.ndarray]:
        """From inputs [batch, inputs] to tokens [batch, length]."""
        if self._beams == 1:
            return greedy_decoder(self._model, length, self._devices)
        search = beam_decoder(self._model, length, self._beams, devices=self._devices)
        return lambda inputs: search(inputs)[0]


def figures(by_task: Mapping[str, TaskScores], tasks: Sequence[Task]) -> dict[str, float]:
    """The scores by `task/metric`, and their averages."""
    values = {name: {metric: score.value for metric, score in task.scores.items()} for name, task in by_task.items()}
    flat = {f"{name}/{metric}": value for name, metrics in values.items() for metric, value in metrics.items()}
    return {**flat, **aggregates(values, tasks)}


def figures_with_intervals(by_task: Mapping[str, TaskScores], tasks: Sequence[Task]) -> dict[str, float]:
    """`figures` with `task/metric/low` and `/high`, the bounds of the 95% interval, and `task/examples`."""
    rest: dict[str, float] = {}
    for name, task in by_task.items():
        for metric, scored in task.scores.items():
            rest |= {f"{name}/{metric}/low": scored.low, f"{name}/{metric}/high": scored.high}
        if task.scores:
            rest[f"{name}/examples"] = len(task.predictions)
    return {**figures(by_task, tasks), **rest}
