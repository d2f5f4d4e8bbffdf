"""Predictions for tasks, their scores and the files to submit, as a measure of a run's checkpoints."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from scalecli.data.tasks.task import Task
from scalecli.devices import Devices
from scalecli.evaluation.aggregates import MEAN_OVER_TASKS
from scalecli.evaluation.submissions import write_submissions
from scalecli.evaluation.tasks import (
    TaskEvaluation,
    TaskInputs,
    TaskScores,
    TaskSplit,
    figures,
    figures_with_intervals,
)
from scalecli.manifest import Scalar
from scalecli.runs.evaluation import Evaluation, MeasuredInputs
from scalecli.runs.tasks.examples import described, read_tasks, remarks, task_identity
from scalecli.storage.files import write_atomically

if TYPE_CHECKING:
    from scalecli.training.reporting import Reporter


def name_of_tasks(tasks: Sequence[Task], split: str, ranked: bool = False, beams: int = 1) -> str:
    """How a folder of results is called after what was measured."""
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
                found = scores[step] = evaluation(lambda done, _: reporter.examples(before + done, total))
                warnings.extend(_write_predictions(job, step, self.split, tests, found))
                return figures_with_intervals(found, tasks)

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
        tasks = [test.task for test in self.tests]
        best: dict[str, int] = {}
        for task in tasks:
            means = {step: _mean_score(found[task.name]) for step, found in self.scores.items()}
            best[task.name] = max(means, key=means.__getitem__)
        peaks = figures({name: self.scores[step][name] for name, step in best.items()}, tasks)
        return {
            name: (value, best.get(name.partition("/")[0]) if "/" in name else None) for name, value in peaks.items()
        }


def _write_predictions(
    job: Evaluation, step: int, split: str, tests: Sequence[TaskSplit], found: Mapping[str, TaskScores]
) -> list[str]:
    """Writes the predictions of one checkpoint; returns what a reader of the manifest should know about them."""
    suffix = f"-{step}" if len(job.checkpoints) > 1 else ""
    write_atomically(job.storage.directory / f"predictions{suffix}.jsonl", _prediction_lines(tests, found))
    notes = []
    for test in tests:
        if invalid := test.invalid(found[test.task.name].predictions):
            where = f"{test.task.name}, step {step}"
            notes.append(f"{where}: {invalid:,} of {len(test.examples):,} predictions are none of the labels")
    if split != "test":
        return notes
    predicted = {test.task.name: (test.task, test.examples, found[test.task.name].predictions) for test in tests}
    return notes + write_submissions(job.storage.directory, suffix, predicted)


def _mean_score(of_task: TaskScores) -> float:
    values = [each.value for each in of_task.scores.values()]
    return sum(values) / max(len(values), 1)


def _prediction_lines(tests: Sequence[TaskSplit], found: Mapping[str, TaskScores]) -> str:
    lines = (
        {
            "task": test.task.name,
            "row": example.row,
            "input": example.input,
            "target": example.target,
            **({"answers": example.answers} if example.answers else {}),
            **({"label": example.label} if example.label is not None else {}),
            "prediction": prediction,
        }
        for test in tests
        for example, prediction in zip(test.examples, found[test.task.name].predictions, strict=True)
    )
    return "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
