"""Rows of comparisons without a manifest behind them, and points on curves."""

import numpy as np

from scalecli.analysis.papers.published import published_tables
from scalecli.analysis.rows.comparison import Row, row_of_published
from scalecli.analysis.statistics.points import Point


def table_rows(*tables):
    """The rows of published tables."""
    return [row_of_published(model) for table in tables for model in published_tables()[table]]


def row(name, **figures) -> Row:
    """A row that is measured like all others of its kind; figures that are no field of it are results."""
    fields = {
        **{"name": name, "source": "made-up", "architecture": "transformer", "flops_convention": "paper"},
        **{"parameters": None, "flops": None, "flops_sequences": 128, "steps_per_s": None},
        **{"upstream": None, "downstream": None},
    }
    fields |= {key: value for key, value in figures.items() if key in Row.__dataclass_fields__}
    return Row(**fields, results={key: value for key, value in figures.items() if key not in fields})


def points_of(costs, qualities, group="transformer", measured_on=None) -> list[Point]:
    """Points of one group; `measured_on` says of each of what kind it is."""
    kinds = measured_on or [""] * len(costs)
    return [
        Point(row(f"model-{index}"), group, float(cost), float(quality), (kind,))
        for index, (cost, quality, kind) in enumerate(zip(costs, qualities, kinds, strict=True))
    ]


def spread_costs(generator, models) -> np.ndarray:
    """Costs over three orders of magnitude."""
    return 10 ** generator.uniform(12, 15, models)
