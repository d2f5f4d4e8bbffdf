"""Scoring a model on a task: greedy predictions for every example, and the task's metrics of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from scalecli.data.finetuning import evaluation_batches
from scalecli.data.tasks import Example, Task
from scalecli.data.vocabulary import Vocabulary
from scalecli.evaluation.decoding import greedy_decoder
from scalecli.evaluation.metrics import baseline, score
from scalecli.models.encoder_decoder import EncoderDecoder

OnProgress = Callable[[int, int], None]  # examples done, examples in all


@dataclass(frozen=True)
class Scores:
    """A model's predictions on a task, in the order of the examples, and each metric from 0 to 100 by `task/metric`.

    `baseline` are the scores of the best constant prediction: what there is to beat.
    """

    predictions: list[str]
    results: dict[str, float]
    baseline: dict[str, float]


class TaskEvaluation:
    """Scores a model on the examples of a task; compiled once, whatever the weights.

    Raises:
        ConfigurationError: the examples' targets can't be scored with the task's metrics and labels.
    """

    def __init__(
        self, model: EncoderDecoder, vocabulary: Vocabulary, task: Task, examples: Sequence[Example], batch: int
    ) -> None:
        self._task, self._examples, self._vocabulary = task, examples, vocabulary
        self._batch = batch
        self._decode = greedy_decoder(model, task.targets_length)
        self._labels = list(task.labels.values()) if task.labels else None
        self._targets = [example.target for example in examples]
        self._baseline = self._named(baseline(task.metrics, self._targets, self._labels))

    def __call__(self, on_progress: OnProgress = lambda done, total: None) -> Scores:
        """Decodes every example with the model's present weights, and scores the predictions."""
        task, examples = self._task, self._examples
        batches = evaluation_batches(examples, self._vocabulary, inputs_length=task.inputs_length, batch=self._batch)
        predictions: list[str] = []
        for batch in batches:
            predictions += [self._vocabulary.decode(row) for row in self._decode(batch["inputs"])]
            on_progress(min(len(predictions), len(examples)), len(examples))
        del predictions[len(examples) :]  # the empty rows that fill up the last batch
        scores = score(task.metrics, predictions, self._targets, self._labels)
        return Scores(predictions, self._named(scores), self._baseline)

    def _named(self, scores: dict[str, float]) -> dict[str, float]:
        return {f"{self._task.name}/{metric}": value for metric, value in scores.items()}
