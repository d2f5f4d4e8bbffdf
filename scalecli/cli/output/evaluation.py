"""The tables of `scalecli eval`: scores, other results, and the tasks that are known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalecli.cli.output.formats import Column, print_table
from scalecli.manifest import Manifest

if TYPE_CHECKING:
    from scalecli.runs.tasks.evaluation import ScoredTasks


def table_of_results(manifest: Manifest) -> tuple[list[dict[str, Any]], list[Column]]:
    """A row for each result of each step, the step in a column where there are several."""
    rows = [
        {"result": key, "step": step, "value": value}
        for step, results in manifest.results.items()
        for key, value in results.items()
    ]
    columns = [Column("result", "Result"), Column("value", "Value", "float")]
    return rows, columns if len(manifest.results) == 1 else [Column("step", "Step"), *columns]


def table_of_tasks(manifest: Manifest, scored: ScoredTasks) -> tuple[list[dict[str, Any]], list[Column]]:
    """A row for each score and each average, at the one step or that of the best mean over tasks, with its interval.

    Of several checkpoints also what each task's own best step gave, and the averages of those: the papers report the
    peak of the validation.
    """
    step = manifest.best.step if manifest.best else max(manifest.results)
    results, peaks = manifest.results[step], scored.peaks()
    rows = []
    for name in peaks:
        task = name.partition("/")[0]
        peak, peak_step = peaks[name]
        rows.append(
            {
                **{"result": name, "value": results[name], "baseline": scored.baseline.get(name)},
                **{"low": results.get(f"{name}/low"), "high": results.get(f"{name}/high")},
                **{"examples": results.get(f"{task}/examples"), "step": step, "peak": peak, "peak_step": peak_step},
            }
        )
    columns = [
        Column("result", "Result"),
        Column("value", "Value", "float"),
        Column("low", "Low (95%)", "float"),
        Column("high", "High (95%)", "float"),
        Column("examples", "Examples"),
        Column("baseline", "Best constant", "float"),
    ]
    if len(scored.scores) > 1:
        columns += [Column("step", "Step"), Column("peak", "Peak", "float"), Column("peak_step", "Step of the peak")]
    return rows, columns


def print_tasks(format: str) -> None:
    """Prints the tasks that are known by name."""
    from scalecli.data.tasks.registry import ALL, all_tasks, groups

    group_of = {name: group for group, names in groups().items() if group != ALL for name in names}
    rows = [
        {
            "task": task.name,
            "group": group_of.get(task.name, ""),
            "dataset": task.dataset,
            "metrics": list(task.metrics),
            "examples": task.examples,
            "lengths": {"inputs": task.inputs_length, "targets": task.targets_length},
            "labels": list(task.labels or ()),
        }
        for task in all_tasks().values()
    ]
    columns = [
        Column("task", "Task"),
        Column("group", "Group"),
        Column("dataset", "TensorFlow dataset"),
        Column("metrics", "Metrics"),
        Column("examples", "Training examples"),
        Column("lengths", "Lengths"),
        Column("labels", "Labels"),
    ]
    print_table("tasks", rows, columns, format)
