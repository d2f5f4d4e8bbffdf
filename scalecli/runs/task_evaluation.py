"""Evaluation of a run's checkpoints on tasks: predictions, scores, submissions, and a manifest of its own."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from scalecli.data.tasks import Task
from scalecli.devices import open_devices
from scalecli.evaluation.aggregates import MEAN_OVER_TASKS
from scalecli.evaluation.submissions import write_submissions
from scalecli.evaluation.tasks import (
    OnProgress,
    TaskEvaluation,
    TaskInputs,
    TaskScores,
    TaskSplit,
    figures,
    figures_with_intervals,
)
from scalecli.files import write_atomically
from scalecli.manifest import Best, Manifest, Scalar
from scalecli.runs.evaluation import Evaluation, model_of, prepare, write_manifest
from scalecli.runs.task_data import described, read_tasks, remarks, task_identity


def name_of_tasks(tasks: Sequence[Task], split: str, ranked: bool = False, beams: int = 1) -> str:
    """How a folder of results is called after what was measured."""
    names = [task.name for task in tasks]
    several = f"{len(names)}-tasks-{hashlib.sha256(' '.join(names).encode()).hexdigest()[:8]}"
    how = "-ranked" if ranked else f"-beams{beams}" if beams > 1 else ""
    return f"{names[0] if len(names) == 1 else several}-{split}{how}"


@dataclass(frozen=True)
class TaskResults:
    """What an evaluation on tasks found: the scores of each step by task, and the best constant's by `task/metric`."""

    manifest: Manifest
    tasks: Sequence[Task]
    scores: dict[int, dict[str, TaskScores]]
    baseline: dict[str, float]

    def peaks(self) -> dict[str, tuple[float, int | None]]:
        """Each score at the step that is best for its task, by the mean of the task's metrics, with that step.

        The averages are those of the tasks at their own best steps; they have no step.
        """
        best: dict[str, int] = {}
        for task in self.tasks:
            means = {step: _mean_score(found[task.name]) for step, found in self.scores.items()}
            best[task.name] = max(means, key=means.__getitem__)
        peaks = figures({name: self.scores[step][name] for name, step in best.items()}, self.tasks)
        return {
            name: (value, best.get(name.partition("/")[0]) if "/" in name else None) for name, value in peaks.items()
        }


def evaluate_tasks(
    job: Evaluation,
    tasks: Sequence[Task],
    split: str,
    on_progress: OnProgress,
    ranked: bool = False,
    beams: int = 1,
) -> TaskResults:
    """Predicts a split of tasks with each checkpoint, and writes predictions, scores and the manifest.

    Predictions go to predictions.jsonl, with the step in the name where there are several; those of a test split to
    glue.zip and superglue.zip as well. The manifest has every score with its interval and number of examples, and names
    the step with the best mean over tasks.

    Raises:
        ScalecliError: of the kind that says what is wrong (see `errors`).
    """
    devices = open_devices(job.devices)
    job = replace(job, batch=devices.divisible(job.batch))
    prepare(job.place, devices)
    data = read_tasks(tasks, split)
    tests = [TaskSplit(task, data.examples[task.name]) for task in tasks]
    scored = [test for test in tests if test.baseline]
    vocabulary = job.trained.vocabulary(job.cache_directory)
    model = model_of(job.trained, devices)
    inputs = TaskInputs(tests, split, vocabulary, job.batch)
    evaluation = TaskEvaluation(model, inputs, ranked, beams, devices)
    scores: dict[int, dict[str, TaskScores]] = {}
    unscored = ", ".join(test.task.name for test in tests if test not in scored)
    notes = [f"predicted but not scored, since the {split} split has no labels: {unscored}"] if unscored else []
    total = len(job.checkpoints) * inputs.examples
    for number, checkpoint in enumerate(job.checkpoints):
        checkpoint.load_into(model)
        done_before = number * inputs.examples
        found = evaluation(partial(_report, on_progress, done_before, total))
        scores[checkpoint.step] = found
        notes += _write_predictions(job, checkpoint.step, split, tests, found)
    entry = replace(
        job.trained.text_data(),
        name=f"{tasks[0].name} ({split})" if len(tasks) == 1 else f"{len(tasks)} tasks ({split})",
        kind="task",
        identity=task_identity(tasks, (split,)),
        inputs_length=max(task.inputs_length for task in tasks),
        targets_length=max(task.targets_length for task in tasks),
        packed=False,
        **described(tasks),
        documents=inputs.examples,
        tokens=None,
        rates=None,
    )
    results = {step: figures_with_intervals(found, tasks) for step, found in scores.items()}
    objective: dict[str, Scalar] = {"name": "greedy decoding"}
    if beams > 1:
        objective = {"name": "beam search", "beams": beams}
    if ranked:
        objective |= {"name": "rank classification"}
    means = {step: found[MEAN_OVER_TASKS] for step, found in results.items() if MEAN_OVER_TASKS in found}
    manifest = write_manifest(
        job,
        devices,
        entry,
        results,
        objective,
        warnings=[*data.warnings, *inputs.warnings, *remarks([test.task for test in scored]), *notes],
        best=Best(step=max(means, key=means.__getitem__), rule=f"highest {MEAN_OVER_TASKS}")
        if len(means) > 1
        else None,
    )
    baselines = {f"{test.task.name}/{metric}": value for test in tests for metric, value in test.baseline.items()}
    return TaskResults(manifest, tasks, scores, baselines)


def _report(on_progress: OnProgress, done_before: int, total: int, done: int, of_checkpoint: int) -> None:
    on_progress(done_before + done, total)


def _write_predictions(
    job: Evaluation, step: int, split: str, tests: Sequence[TaskSplit], found: Mapping[str, TaskScores]
) -> list[str]:
    """Writes the predictions of one checkpoint; returns what a reader of the manifest should know about them."""
    suffix = f"-{step}" if len(job.checkpoints) > 1 else ""
    write_atomically(job.place.directory / f"predictions{suffix}.jsonl", _prediction_lines(tests, found))
    notes = []
    for test in tests:
        if invalid := test.invalid(found[test.task.name].predictions):
            where = f"{test.task.name}, step {step}"
            notes.append(f"{where}: {invalid:,} of {len(test.examples):,} predictions are none of the labels")
    if split != "test":
        return notes
    predicted = {test.task.name: (test.task, test.examples, found[test.task.name].predictions) for test in tests}
    return notes + write_submissions(job.place.directory, suffix, predicted)


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
