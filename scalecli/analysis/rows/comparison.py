"""Runs and published models as rows of one table, with the best of each column and the Pareto-efficient rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

from scalecli.analysis.papers.findings import Finding
from scalecli.analysis.rows.comparable import few_shot_name, text_name
from scalecli.analysis.statistics.pareto import dominators
from scalecli.costs.hardware import DEFAULT_CHIP
from scalecli.results import FEW_SHOT, FEW_SHOT_ACCURACY, VALIDATION

# What only runs need is imported where they are read: a table of what is published is there sooner without.
if TYPE_CHECKING:
    from scalecli.costs import Convention
    from scalecli.manifest import Data, Manifest
    from scalecli.shape import Shape

# Less is better in these columns, and in those of results whose names end in one of `_LOSSES`.
_COSTS = ("parameters", "flops", "training_flops", "tokens", "tokens_per_parameter", "device_hours")
_LOSSES = ("loss", "cross_entropy", "/perplexity")
# Costs that count the data that a model saw: over them, models that saw more and less of it lie on one line.
_COUNT_DATA = ("training_flops", "tokens", "tokens_per_parameter", "device_hours", "upstream")
# What two figures of a column must have in common, or neither is better than the other; of other columns nothing.
_CONDITIONS = {
    "flops": "flops_sequences",
    "steps_per_s": "chips",
    "device_hours": "chip",
    "upstream": "upstream_text",
    "downstream": "downstream_tasks",
    "few_shot": "few_shot_images",
}
# The papers' mean of their three sets of tasks, and what a run's result has to be called to stand beside it.
_PAPERS_TASKS, _PAPERS_MEAN = "GLUE, SuperGLUE and SQuAD", "average"


@dataclass(frozen=True, kw_only=True)
class RunOfRow:
    """The run that a row describes: its manifest, read from `file`, and the kind of chip that it used, if known.

    `pretrained` is the manifest of the run whose held-out text its upstream figure was measured on: its own, or that of
    a run that it was made from; None where there is no such figure. `seen` is the data of its pretraining, such as
    `9,600 tokens`; None where that is not known.
    """

    file: str
    manifest: Manifest
    shape: Shape
    pretrained: Manifest | None = None
    seen: str | None = None
    chip: str | None = None


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of a comparison: a run of ours or a published one; None where a figure is not known.

    Attributes:
        name: the model's.
        source: a paper's short name, or `run`.
        table: of the paper.
        architecture: its name.
        parameters: trainable ones.
        flops: of one forward pass over `flops_sequences` sequences, or one image, in `flops_convention`, which is the
            same for all rows of a table.
        steps_per_s: training steps, on `chips` TPU-v3 chips (None: on the run's own devices).
        training_flops: of its pretraining, three forward passes a step.
        tokens: inputs and targets of its pretraining.
        tokens_per_parameter: those by `parameters`.
        device_hours: of its pretraining, of all devices together.
        upstream: negative log-perplexity, in nats.
        downstream: the mean of scores from 0 to 100.
        few_shot: percentage of images.
        results: every single score and loss by its name.
        traits: what makes a model neither better nor worse.
        findings: what is the matter with published figures.
        run: the run behind it, if it is one of ours.
        averaged: the runs that it is the mean of, which differ in their seed alone.
        intervals: of such means, 95%, by column.
        assumed_seen: of a published model whose data is not printed, that of the runs beside it.
        model: the name in the manifest or the paper, where `name` was made another one to tell rows apart.
    """

    name: str
    source: str
    table: str | None = None
    architecture: str
    parameters: int | None
    flops: float | None
    flops_convention: Convention
    flops_sequences: int
    steps_per_s: float | None
    chips: int | None = None
    training_flops: float | None = None
    tokens: int | None = None
    tokens_per_parameter: float | None = None
    device_hours: float | None = None
    upstream: float | None
    downstream: float | None
    few_shot: float | None = None
    results: dict[str, float] = field(default_factory=dict)
    traits: dict[str, int | float] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    run: RunOfRow | None = None
    averaged: tuple[Row, ...] = ()
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    assumed_seen: str | None = None
    model: str | None = None

    def value(self, key: str) -> Any:
        """The cell of the column `key`, or None."""
        if key in FIXED_COLUMNS:
            return getattr(self, key)
        return self.results.get(key, self.traits.get(key))

    def figure(self, key: str) -> float | None:
        """The cell of the column `key`, where it is a number that the column's quantity can have."""
        value = self.value(key)
        return value if isinstance(value, (int, float)) and is_possible(key, value) else None

    def measured_on(self, key: str) -> tuple[int | str | None, ...]:
        """What the figure of the column `key` was measured on: only figures that share it compare."""
        condition = _CONDITIONS.get(key)
        return (getattr(self, condition),) if condition else ()

    def measured_for(self, cost: str, quality: str) -> tuple:
        """What two models must share to be compared in a cost and a quality: what these were measured on, and the data.

        Not the data where the cost counts it, as training FLOPs do.
        """
        seen = () if cost in _COUNT_DATA else self.trained_on(quality)
        return self.measured_on(cost), self.measured_on(quality), seen

    def trained_on(self, key: str) -> tuple[str | None, ...]:
        """The data that the model saw, where the column `key` is a quality, which more data makes better."""
        is_quality = key in ("upstream", "downstream", "few_shot") or key in self.results
        return (self.seen,) if is_quality else ()

    @property
    def seen(self) -> str | None:
        """The data of its pretraining, such as `9,600 tokens`; None where that is not known."""
        if self.run is not None:
            return self.run.seen
        return self.assumed_seen if self.tokens is None else f"{self.tokens:,} tokens"

    @property
    def chip(self) -> str | None:
        """The kind of chip that it was trained on, None where that is not known."""
        return self.run.chip if self.run else DEFAULT_CHIP

    @property
    def origin(self) -> str:
        """The table of a paper that it is in, or `run`: scores of different tables do not compare."""
        return f"{self.source}/{self.table}" if self.table else self.source

    @property
    def upstream_text(self) -> str | None:
        """What the upstream figure was measured on (see `text_name`), None without one."""
        if self.upstream is None:
            return None
        data = self.run.pretrained.data if self.run and self.run.pretrained else None
        return text_name(cast("Data | None", data))  # what reads images has no such figure

    @property
    def downstream_tasks(self) -> str | None:
        """The tasks and metrics whose scores the downstream figure is the mean of, None without one."""
        if self.downstream is None:
            return None
        if self.run is None or _PAPERS_MEAN in self.results:
            return _PAPERS_TASKS
        names = (f"{task}/{metric}" for task, scores in _scores(self.results).items() for metric in scores)
        return ", ".join(sorted(names))

    @property
    def few_shot_images(self) -> str | None:
        """The images, and how many of each class, that the few-shot figure was measured with, None without one."""
        if self.few_shot is None:
            return None
        return few_shot_name(self.run.manifest if self.run else None)


_NO_COLUMNS = ("results", "traits", "findings", "run", "averaged", "intervals", "assumed_seen", "model")
FIXED_COLUMNS = tuple(name for name in Row.__dataclass_fields__ if name not in _NO_COLUMNS)
TEXT_COLUMNS = ("name", "source", "table", "architecture", "flops_convention")
_HIGHEST_SCORE = 100
# Of these no value is better than another.
_NEUTRAL = (*TEXT_COLUMNS, "flops_sequences", "chips")


def column_keys(rows: Iterable[Row]) -> list[str]:
    """Every column that these rows can show: the fixed ones, then the names of all their results, then traits."""
    rows = list(rows)
    results = sorted({name for row in rows for name in row.results})
    return [*FIXED_COLUMNS, *results, *dict.fromkeys(name for row in rows for name in row.traits)]


def downstream_score(results: dict[str, float]) -> float | None:
    """The papers' average of GLUE, SuperGLUE and SQuAD, else the mean over tasks of the mean over a task's scores.

    None without any `task/metric` result. Losses, numbers of examples, the bounds of intervals (`task/metric/low`), and
    all that was measured on held-out pretraining data or from a few images, are no scores.
    """
    for name in (_PAPERS_MEAN, "mean_over_tasks"):
        if name in results:
            return results[name]
    tasks = _scores(results)
    return _mean([_mean(list(scores.values())) for scores in tasks.values()]) if tasks else None


def _scores(results: dict[str, float]) -> dict[str, dict[str, float]]:
    """The scores of each task by metric."""
    tasks: dict[str, dict[str, float]] = {}
    for name, value in results.items():
        task, slash, metric = name.partition("/")
        is_score = slash and "/" not in metric and metric != "examples" and not name.endswith("log_perplexity")
        if is_score and task not in (VALIDATION, FEW_SHOT) and not lower_is_better(name):
            tasks.setdefault(task, {})[metric] = value
    return tasks


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def lower_is_better(key: str) -> bool:
    """Whether less is better in the column `key`: sizes, costs and losses."""
    return key in _COSTS or key.endswith(_LOSSES)


def best_cells(rows: Sequence[Row], keys: Iterable[str]) -> set[tuple[int, str]]:
    """Returns (row, column) of the best figure of each column of costs or qualities, ties included.

    Best among the rows that were trained and measured alike; none where all of those are equal.
    """
    best = set()
    for key in keys:
        extreme: Callable[..., float] = min if lower_is_better(key) else max
        groups: dict[tuple, dict[int, float]] = {}  # the figures that compare, by row
        for index, row in enumerate(rows):
            if key not in (*_NEUTRAL, *row.traits) and (figure := row.figure(key)) is not None:
                groups.setdefault((row.measured_on(key), row.trained_on(key)), {})[index] = figure
        for known in groups.values():
            if len(set(known.values())) > 1:
                first = extreme(known.values())
                best |= {(index, key) for index, value in known.items() if value == first}
    return best


def efficient_rows(rows: Sequence[Row], cost: str, quality: str) -> list[bool]:
    """Marks the rows on the Pareto frontier of the columns `cost` and `quality`: known ones that no row beats.

    One that was measured like no other, where others can be compared, is not marked (see `dominating_rows`).
    """
    return [better == [] for better in dominating_rows(rows, cost, quality)]


def dominating_rows(rows: Sequence[Row], cost: str, quality: str) -> list[list[Row] | None]:
    """The rows on the Pareto frontier that beat each row (see `dominators`); None where that can't be known.

    A column whose higher values are better, such as steps_per_s, counts as a cost when it is low, and a loss as a
    quality when it is low. Only rows that compare (`Row.measured_for`) beat each other: None is for those
    that lack one of the two figures, and for one that was measured like no other while others can be compared.
    """
    cost_sign, quality_sign = (1 if lower_is_better(cost) else -1), (-1 if lower_is_better(quality) else 1)
    groups: dict[tuple, list[int]] = {}
    for index, row in enumerate(rows):
        if row.figure(cost) is not None and row.figure(quality) is not None:
            groups.setdefault(row.measured_for(cost, quality), []).append(index)
    beaten_by: list[list[Row] | None] = [None] * len(rows)
    for group in groups.values():
        if len(group) > 1 or len(groups) == 1:
            costs = [cost_sign * rows[index].value(cost) for index in group]
            qualities = [quality_sign * rows[index].value(quality) for index in group]
            for index, better in zip(group, dominators(costs, qualities), strict=True):
                beaten_by[index] = [rows[group[other]] for other in better]
    return beaten_by


def is_possible(key: str, value: float) -> bool:
    """Whether a number can be one of the column `key`: log-likelihoods are at most 0, scores at most 100 either way."""
    if not math.isfinite(value):
        return False
    if key == "upstream" or key.endswith("negative_log_perplexity"):
        return value <= 0
    if key in ("downstream", "few_shot", FEW_SHOT_ACCURACY) or _scores({key: value}):
        return abs(value) <= _HIGHEST_SCORE
    return value >= 0 if lower_is_better(key) or key == "steps_per_s" else True
