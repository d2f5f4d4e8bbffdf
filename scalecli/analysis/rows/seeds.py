"""Runs that differ in their seed alone as one row: the mean of their figures, with 95% intervals."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Hashable, Sequence
from dataclasses import replace
from typing import Any

from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.rows.fairness import aspects
from scalecli.analysis.statistics.intervals import students_t
from scalecli.tables import first_few

_AVERAGED = ("steps_per_s", "device_hours", "upstream", "downstream", "few_shot")
_COUNTED = ("training_flops", "tokens", "tokens_per_parameter")  # until the best step of each: no interval
_BOUNDS = ("/low", "/high")  # of a run's own intervals, which the mean has others of
_OF_MACHINES = ("devices", "tensorflow")  # which may differ from seed to seed


def mean_over_seeds(rows: Sequence[Row]) -> list[Row]:
    """The rows with one for all runs that differ in their seed alone, where the first of them was.

    Runs whose seeds and results are equal count once. A figure that not all of them have is none. Intervals of the
    mean are Student's.
    """
    groups: dict[Hashable, list[Row]] = {}
    for row in rows:
        group = groups.setdefault(_all_but_the_seed(row), [])
        if _outcome(row) not in map(_outcome, group):
            group.append(row)
    return [group[0] if group[0].run is None else _mean_row(group) for group in groups.values()]


def _all_but_the_seed(row: Row) -> Hashable:
    if row.run is None:
        return id(row)
    manifests = [row.run.manifest]
    if row.run.pretrained not in (None, row.run.manifest):
        manifests.append(row.run.pretrained)
    made = [
        (manifest.kind, *((what, key) for what, (key, _) in aspects(manifest).items() if what not in _OF_MACHINES))
        for manifest in manifests
    ]
    return row.architecture, row.run.shape, *made


def _outcome(row: Row) -> Any:
    if row.run is None:
        return row
    made = [manifest for manifest in (row.run.manifest, row.run.pretrained) if manifest is not None]
    return [(manifest.seed, manifest.parent, manifest.results) for manifest in made]


def _mean_row(group: Sequence[Row]) -> Row:
    known = {
        name: [row.results[name] for row in group]
        for name in group[0].results
        if all(name in row.results for row in group) and not name.endswith(_BOUNDS)
    }
    fields = {key: [getattr(row, key) for row in group] for key in (*_AVERAGED, *_COUNTED)}
    means: dict[str, Any] = {key: None if None in values else _mean(values) for key, values in fields.items()}
    known |= {key: values for key, values in fields.items() if key in _AVERAGED and None not in values}
    return replace(
        group[0],
        **means,
        name=_name([row.name for row in group]),
        results={name: _mean(values) for name, values in known.items() if name not in fields},
        averaged=tuple(group),
        intervals={key: interval for key, values in known.items() if (interval := _interval(values))},
    )


def _mean(values: Sequence[float]) -> float:
    return values[0] if len(set(values)) == 1 else statistics.fmean(values)


def _interval(values: Sequence[float]) -> tuple[float, float] | None:
    """The 95% interval of the mean, None of one value."""
    if len(values) < 2:
        return None
    mean = statistics.fmean(values)
    margin = students_t(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean - margin, mean + margin


def _name(names: Sequence[str]) -> str:
    """What the names have in common: `small-sst2` of small-sst2 and small-seed1-sst2."""
    without = {re.sub(r"[-_]?seed[-_]?\d+", "", name) for name in names}
    return without.pop() if len(without) == 1 else first_few(names, 1)
