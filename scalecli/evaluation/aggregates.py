"""Averages over tasks, as the papers have them: GLUE, SuperGLUE, SQuAD, and the mean of the three (Table 4's AVG)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scalecli.data.tasks.registry import all_tasks, diagnostics, groups
from scalecli.data.tasks.task import Task

BENCHMARKS = ("glue", "superglue", "squad")
AVERAGED_GROUPS = (*BENCHMARKS, "rainbow")
MEAN_OVER_TASKS = "mean_over_tasks"


def aggregates(scores: Mapping[str, Mapping[str, float]], tasks: Sequence[Task]) -> dict[str, float]:
    """The averages that scores by task and metric allow; none that lacks one of its tasks.

    The metrics of a task are averaged first, then a task with the one that it is `scored_with`, then tasks. `average`
    is the mean of glue, superglue and squad; `mean_over_tasks` that of all tasks, whichever they are. No average counts
    the benchmarks' diagnostic sets.
    """
    left_out = {name for names in diagnostics().values() for name in names}
    means = {
        name: _mean(list(metrics.values())) for name, metrics in scores.items() if metrics and name not in left_out
    }
    if not means:
        return {}
    partners = {task.name: task.scored_with for task in (*all_tasks().values(), *tasks)}
    averages = {}
    for group in AVERAGED_GROUPS:
        members = [name for name in groups()[group] if all_tasks()[name].has("validation")]
        if all(name in means for name in members):
            averages[group] = _mean_over_tasks({name: means[name] for name in members}, partners)
    if all(benchmark in averages for benchmark in BENCHMARKS):
        averages["average"] = average(averages)
    return {**averages, MEAN_OVER_TASKS: _mean_over_tasks(means, partners)}


def average(benchmarks: Mapping[str, float]) -> float:
    """The plain mean of glue, superglue and squad, which is Table 4's AVG."""
    return _mean([benchmarks[name] for name in BENCHMARKS])


def _mean_over_tasks(means: Mapping[str, float], partners: Mapping[str, str | None]) -> float:
    by_pair: dict[str, list[float]] = {}
    for name, value in means.items():
        by_pair.setdefault(partners.get(name) or name, []).append(value)
    return _mean([_mean(values) for values in by_pair.values()])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
