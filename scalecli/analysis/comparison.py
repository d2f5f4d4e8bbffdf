"""Runs and published models as rows of one table, with the best of each column and the Pareto-efficient rows."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from scalecli.analysis.pareto import pareto_efficient
from scalecli.analysis.published import PublishedModel
from scalecli.analysis.upstream import UPSTREAM_GROUP, final_results, upstream_of
from scalecli.architectures import build_spec
from scalecli.costs import BATCHES, Convention, flops
from scalecli.errors import ConfigurationError
from scalecli.manifest import load_manifest, manifest_path
from scalecli.shape import Shape

# Lower is better for these columns, and for every result whose name ends in one of these words.
_COSTS = ("parameters", "flops")
_LOSSES = ("loss", "cross_entropy", "/perplexity")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model of a comparison: a run of ours or a published one; None where a figure is not known.

    FLOPs are of one forward pass over the batch that `costs.BATCHES` has for `flops_convention`, which is one for all
    rows of a table; `upstream` is a negative log-perplexity, `downstream` a mean of scores from 0 to 100, `results`
    holds every single figure by its name.
    """

    name: str
    source: str
    architecture: str
    parameters: int | None
    flops: float | None
    flops_convention: str
    steps_per_s: float | None
    upstream: float | None
    downstream: float | None
    results: dict[str, float] = field(default_factory=dict)

    def value(self, key: str) -> Any:
        """The cell of the column `key`, or None."""
        return getattr(self, key) if key in _FIXED else self.results.get(key)


_FIXED = tuple(name for name in Row.__dataclass_fields__ if name != "results")


def column_keys(rows: Iterable[Row]) -> list[str]:
    """Every column that these rows can show: the fixed ones, then the names of all their results."""
    return [*_FIXED, *sorted({name for row in rows for name in row.results})]


def row_of_run(path: str, convention: Convention) -> Row:
    """The row of a run's manifest or directory, with the FLOPs of its architecture and shape in `convention`.

    They are not those in the manifest: those are of the batch that the run happened to train with.

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
    return Row(
        name=manifest.name,
        source="run",
        architecture=manifest.architecture,
        parameters=spec.parameters(),
        flops=sum(flops(spec, BATCHES[convention], convention).values()),
        flops_convention=convention,
        steps_per_s=manifest.throughput.steps_per_s if manifest.throughput else None,
        upstream=upstream_of(file, manifest),
        downstream=downstream_score(results),
        results=results,
    )


def row_of_published(model: PublishedModel) -> Row:
    """A published model's row, FLOPs in the convention `paper`; its results are `glue`, `superglue` and `squad`."""
    return Row(
        name=model.name,
        source=model.source,
        architecture=model.architecture,
        parameters=model.parameters,
        flops=model.flops,
        flops_convention="paper",
        steps_per_s=model.steps_per_s,
        upstream=model.upstream,
        downstream=model.average,
        results={"glue": model.glue, "superglue": model.superglue, "squad": model.squad},
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
    """Returns (row, column) of the best figure of each numeric column, ties included; none where all are equal."""
    best = set()
    for key in keys:
        known = {index: row.value(key) for index, row in enumerate(rows) if _is_number(row.value(key))}
        if len(set(known.values())) > 1:
            extreme: Callable[..., float] = min if lower_is_better(key) else max
            best |= {(index, key) for index, value in known.items() if value == extreme(known.values())}
    return best


def efficient_rows(rows: Sequence[Row], cost: str, quality: str) -> list[bool]:
    """Marks the rows on the Pareto frontier of the columns `cost` and `quality` (see `pareto_efficient`).

    A column whose higher values are better, such as steps_per_s, counts as a cost when it is low, and a loss as a
    quality when it is low.
    """
    costs = [_oriented(row.value(cost), 1 if lower_is_better(cost) else -1) for row in rows]
    qualities = [_oriented(row.value(quality), -1 if lower_is_better(quality) else 1) for row in rows]
    return pareto_efficient(costs, qualities)


def _oriented(value: Any, sign: int) -> float | None:
    return sign * value if _is_number(value) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and value == value
