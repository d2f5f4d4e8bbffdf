"""Predictions for tasks, their scores and the files to submit, as a measure of a run's checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from scalecli.data.tasks.task import Example, Task
from scalecli.devices import Devices
from scalecli.evaluation.aggregates import MEAN_OVER_TASKS
from scalecli.evaluation.submissions import write_submissions
from scalecli.evaluation.tasks import TaskEvaluation, TaskInputs, TaskScores, TaskSplit, figures, figures_with_intervals
from scalecli.manifest import Scalar
from scalecli.runs.evaluation import Evaluation, MeasuredInputs
from scalecli.runs.tasks.examples import described, read_tasks, remarks, task_identity
from scalecli.storage.files import write_atomically
from scalecli.training.reporting import Reporter


def name_of_tasks(tasks: Sequence[Task], split: str, ranked: bool = False, beams: int = 1) -> str:
    """The name of the folder of results."""
    names = [task.name for task in tasks]
    several = f"{len(names)}-tasks-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}"
    how = "-ranked" if ranked else f"-beams{beams}" if beams > 1 else ""
    return f"{names[0] if len(names) == 1 else several}-{split}{how}"


@dataclass(frozen=True)
class TaskPredictions:
    """Scores of the predictions for a split of tasks, greedy, by beam search, or ranked among a task's labels.

    Predictions go to predictions.jsonl, with the step in the name where there are several; those of a test split to
    glue.zip and superglue.zip as well.
    """

    tasks: Sequence[Task]
    split: str
    ranked: bool = False
    beams: int = 1

    def open(self, job: Evaluation, devices: Devices, reporter: Reporter) -> ScoredTasks:
        """Reads the examples."""
        tasks, data = self.tasks, read_tasks(self.tasks, self.split)
        objective: dict[str, Scalar] = {"name": "greedy decoding"}
        if self.beams > 1:
            objective = {"name": "beam search", "beams": self.beams}
        if self.ranked:
            objective |= {"name": "rank classification"}
        entry = replace(
            job.trained.text_data(),
            name=f"{tasks[0].name} ({self.split})" if len(tasks) == 1 else f"{len(tasks)} tasks ({self.split})",
            kind="task",
            identity=task_identity(tasks, (self.split,)),
            inputs_length=max(task.inputs_length for task in tasks),
            targets_length=max(task.targets_length for task in tasks),
            packed=False,
            **described(tasks),
            documents=sum(map(len, data.examples.values())),
            tokens=None,
            rates=None,
        )
        tests = [TaskSplit(task, data.examples[task.name]) for task in tasks]
        vocabulary = job.trained.vocabulary(job.cache_directory)
        scores: dict[int, dict[str, TaskScores]] = {}
        inputs = TaskInputs(tests, self.split, vocabulary, job.batch, reporter.working)
        scored = [test.task for test in tests if test.baseline]
        warnings = [*data.warnings, *inputs.warnings, *remarks(scored)]
        if unscored := ", ".join(task.name for task in tasks if task not in scored):
            warnings.append(f"predicted but not scored, since the {self.split} split has no labels: {unscored}")

        def on(model: Any) -> Callable[[int], dict[str, float]]:
            evaluation = TaskEvaluation(model, inputs, self.ranked, self.beams, devices)
            total = len(job.checkpoints) * inputs.examples

            def measured(step: int) -> dict[str, float]:
                before = len(scores) * inputs.examples
                scores[step] = evaluation(lambda done, _: reporter.examples(before + done, total))
                warnings.extend(_write_predictions(job, step, self.split, tests, scores[step]))
                return figures_with_intervals(scores[step], tasks)

            return measured

        return ScoredTasks(
            data=entry,
            objective=objective,
            examples=inputs.examples,
            on=on,
            best=MEAN_OVER_TASKS,
            warnings=warnings,
            tests=tests,
            scores=scores,
        )


@dataclass(kw_only=True)
class ScoredTasks(MeasuredInputs):
    """The examples of tasks, and the scores of each step by task."""

    tests: Sequence[TaskSplit]
    scores: dict[int, dict[str, TaskScores]]

    @property
    def baseline(self) -> dict[str, float]:
        """The scores of the best constant by `task/metric`."""
        return {f"{test.task.name}/{metric}": value for test in self.tests for metric, value in test.baseline.items()}

    def peaks(self) -> dict[str, tuple[float, int | None]]:
        """Each score at the step that is best for its task, by the mean of the task's metrics, with that step.

        The averages are those of the tasks at their own best steps; they have no step.
        """
        best = {
            test.task.name: max(self.scores, key=lambda step: _mean_score(self.scores[step][test.task.name]))
            for test in self.tests
        }
        at_best = {name: self.scores[step][name] for name, step in best.items()}
        values = figures(at_best, [test.task for test in self.tests])
        # The average over tasks has the name of no task.
        return {name: (value, best.get(name.split("/")[0]) if "/" in name else None) for name, value in values.items()}


def _write_predictions(
    job: Evaluation, step: int, split: str, tests: Sequence[TaskSplit], scores: Mapping[str, TaskScores]
) -> list[str]:
    """Writes the predictions of one checkpoint; returns what a reader of the manifest should know about them."""
    suffix = f"-{step}" if len(job.checkpoints) > 1 else ""
    predicted = {test.task.name: (test.task, test.examples, scores[test.task.name].predictions) for test in tests}
    lines, notes = [], []
    for test, (task, examples, predictions) in zip(tests, predicted.values(), strict=True):
        lines += [_prediction(task, example, text) for example, text in zip(examples, predictions, strict=True)]
        if invalid := test.invalid(predictions):
            notes.append(
                f"{task.name}, step {step}: {invalid:,} of {len(examples):,} predictions are none of the labels"
            )
    write_atomically(job.storage.directory / f"predictions{suffix}.jsonl", "".join(lines))
    return notes + (write_submissions(job.storage.directory, suffix, predicted) if split == "test" else [])


def _prediction(task: Task, example: Example, prediction: str) -> str:
    """A line of predictions.jsonl."""
    line = {
        **{"task": task.name, "row": example.row, "input": example.input, "target": example.target},
        **({"answers": example.answers} if example.answers else {}),
        **({"label": example.label} if example.label is not None else {}),
        "prediction": prediction,
    }
    return json.dumps(line, ensure_ascii=False) + "\n"


def _mean_score(scores: TaskScores) -> float:
    values = [score.value for score in scores.scores.values()]
    return sum(values) / max(len(values), 1)
