"""Runs and published models as rows of one table, with the best of each column and the Pareto-efficient rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scalecli.analysis.findings import Finding, findings_of, sequences_of
from scalecli.analysis.pareto import pareto_efficient
from scalecli.analysis.published import PublishedModel
from scalecli.analysis.upstream import UPSTREAM_GROUP, final_results, upstream_of
from scalecli.architectures import build_spec
from scalecli.costs import BATCHES, Convention, flops
from scalecli.errors import ConfigurationError
from scalecli.manifest import load_manifest, manifest_path
from scalecli.shape import Shape
from scalecli.specs import ModelSpec

# Lower is better for these columns, and for every result whose name ends in one of these words.
_COSTS = ("parameters", "flops")
_LOSSES = ("loss", "cross_entropy", "/perplexity")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of a comparison: a run of ours or a published one; None where a figure is not known.

    FLOPs are of one forward pass over `flops_sequences` sequences in `flops_convention`, which is one for all rows of a
    table; `steps_per_s` is a speed on `chips` TPU-v3 chips (None: on the run's own devices); `upstream` is a negative
    log-perplexity, `downstream` a mean of scores from 0 to 100. `results` holds every single score or loss by its name,
    `traits` what makes a model neither better nor worse, `findings` what is the matter with published figures.
    """

    name: str
    source: str
    table: str | None = None
    architecture: str
    parameters: int | None
    flops: float | None
    flops_convention: str
    flops_sequences: int
    steps_per_s: float | None
    chips: int | None = None
    upstream: float | None
    downstream: float | None
    results: dict[str, float] = field(default_factory=dict)
    traits: dict[str, int | float] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def value(self, key: str) -> Any:
        """The cell of the column `key`, or None."""
        if key in FIXED_COLUMNS:
            return getattr(self, key)
        return self.results.get(key, self.traits.get(key))

    def measured_on(self, key: str) -> tuple[int | None, ...]:
        """What figures of the column `key` must have in common, or neither is better than the other.

        FLOPs are of as many sequences, steps per second on as many chips; others can all be compared.
        """
        return {"flops": (self.flops_sequences,), "steps_per_s": (self.chips,)}.get(key, ())


_MAPPINGS = ("results", "traits", "findings")
FIXED_COLUMNS = tuple(name for name in Row.__dataclass_fields__ if name not in _MAPPINGS)
TEXT_COLUMNS = ("name", "source", "table", "architecture", "flops_convention")
# Of these no value is better than another.
_NEUTRAL = (*TEXT_COLUMNS, "flops_sequences", "chips")


def column_keys(rows: Iterable[Row]) -> list[str]:
    """Every column that these rows can show: the fixed ones, then the names of all their results, then traits."""
    rows = list(rows)
    results = sorted({name for row in rows for name in row.results})
    return [*FIXED_COLUMNS, *results, *dict.fromkeys(name for row in rows for name in row.traits)]


def row_of_run(path: str, convention: Convention) -> Row:
    """The row of a run's manifest or directory, with the FLOPs of its architecture and shape in `convention`.

    They are not those in the manifest: those are of the batch that the run happened to train with. A model that can't
    have inputs as long as the convention's has none.

    Raises:
        MissingError: there is no manifest, or it cannot be read.
        ConfigurationError: it is not valid, or this version knows no such architecture or shape; names the file.
    """
    file = manifest_path(path)
    manifest = load_manifest(file)
    try:
        spec = build_spec(manifest.architecture, Shape.from_dict(manifest.shape, "shape"))
    except ConfigurationError as error:
        raise ConfigurationError(f"{file}: {error}") from None
    results = final_results(manifest)
    batch = BATCHES[convention]
    return Row(
        name=manifest.name,
        source="run",
        architecture=manifest.architecture,
        parameters=spec.parameters(),
        flops=_flops(spec, convention),
        flops_convention=convention,
        flops_sequences=batch.sequences,
        steps_per_s=manifest.throughput.steps_per_s if manifest.throughput else None,
        upstream=upstream_of(file, manifest),
        downstream=downstream_score(results),
        results=results,
    )


def _flops(spec: ModelSpec, convention: Convention) -> int | None:
    try:
        return sum(flops(spec, BATCHES[convention], convention).values())
    except ConfigurationError:
        return None


def row_of_published(model: PublishedModel) -> Row:
    """A published model's row, FLOPs in the convention `paper`."""
    return Row(
        name=model.name,
        source=model.source,
        table=model.table,
        architecture=model.architecture,
        parameters=model.parameters,
        flops=model.flops,
        flops_convention="paper",
        flops_sequences=sequences_of(model),
        steps_per_s=model.steps_per_s,
        chips=model.chips,
        upstream=model.upstream,
        downstream=model.downstream,
        results=model.results,
        traits=model.traits,
        findings=findings_of(model),
    )


def downstream_score(results: dict[str, float]) -> float | None:
    """The papers' average of GLUE, SuperGLUE and SQuAD, else the mean over tasks of the mean over a task's scores.

    None without any `task/metric` result. Losses, numbers of examples, the bounds of intervals (`task/metric/low`), and
    all that was measured on held-out pretraining text, are no scores.
    """
    for name in ("average", "mean_over_tasks"):
        if name in results:
            return results[name]
    tasks: dict[str, list[float]] = {}
    for name, value in results.items():
        task, slash, metric = name.partition("/")
        is_score = slash and "/" not in metric and metric != "examples" and not name.endswith("log_perplexity")
        if is_score and task != UPSTREAM_GROUP and not lower_is_better(name):
            tasks.setdefault(task, []).append(value)
    return _mean([_mean(scores) for scores in tasks.values()]) if tasks else None


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def lower_is_better(key: str) -> bool:
    """Whether less is better in the column `key`: sizes, costs and losses."""
    return key in _COSTS or key.endswith(_LOSSES)


def best_cells(rows: Sequence[Row], keys: Iterable[str]) -> set[tuple[int, str]]:
    """Returns (row, column) of the best figure of each column of costs or qualities, ties included.

    Best among the rows that were measured alike (`Row.measured_on`); none where all of those are equal.
    """
    best = set()
    for key in keys:
        groups: dict[tuple, dict[int, float]] = {}
        for index, row in enumerate(rows):
            if key not in (*_NEUTRAL, *row.traits) and _is_number(row.value(key)):
                groups.setdefault(row.measured_on(key), {})[index] = row.value(key)
        for known in groups.values():
            if len(set(known.values())) > 1:
                extreme: Callable[..., float] = min if lower_is_better(key) else max
                best |= {(index, key) for index, value in known.items() if value == extreme(known.values())}
    return best


def efficient_rows(rows: Sequence[Row], cost: str, quality: str) -> list[bool]:
    """Marks the rows on the Pareto frontier of the columns `cost` and `quality` (see `pareto_efficient`).

    A column whose higher values are better, such as steps_per_s, counts as a cost when it is low, and a loss as a
    quality when it is low. Only rows that were measured alike (`Row.measured_on`) beat each other; one that was
    measured like no other is not marked.
    """
    cost_sign, quality_sign = (1 if lower_is_better(cost) else -1), (-1 if lower_is_better(quality) else 1)
    groups: dict[tuple, list[int]] = {}
    for index, row in enumerate(rows):
        if _is_number(row.value(cost)) and _is_number(row.value(quality)):
            groups.setdefault((row.measured_on(cost), row.measured_on(quality)), []).append(index)
    marks = [False] * len(rows)
    for group in groups.values():
        if len(group) > 1 or len(groups) == 1:
            costs = [cost_sign * rows[index].value(cost) for index in group]
            qualities = [quality_sign * rows[index].value(quality) for index in group]
            for index, mark in zip(group, pareto_efficient(costs, qualities), strict=True):
                marks[index] = mark
    return marks


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value
