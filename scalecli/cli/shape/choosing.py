"""Options of `scalecli shape` that look for a shape instead of showing one, and the rows that they give."""

from __future__ import annotations

from typing import Any

import click

from scalecli.analysis.advice.shapes import (
    COSTS,
    DEEPEST,
    Setting,
    candidates,
    nearest_published,
    published_alternatives,
)
from scalecli.cli.options.groups import option_group
from scalecli.cli.options.values import positive_quantity
from scalecli.cli.output.formats import Column
from scalecli.errors import ConfigurationError, UsageError, nearest
from scalecli.references import ModelReference

_COST_COLUMNS = (
    Column("parameters", "Params", "count"),
    Column("flops", "FLOPs (paper)", "flops"),
    Column("device_bytes", "Memory", "bytes"),
    Column("steps_per_s", "Steps/s", "float"),
)
CANDIDATE_COLUMNS = (
    Column("name", "Name"),
    *_COST_COLUMNS,
    Column("used_percent", "Budget %", "float"),
    Column("score", "Stands on", "float"),
    Column("evidence", "Published"),
)
ALTERNATIVE_COLUMNS = (
    Column("name", "Name"),
    Column("architecture", "Architecture"),
    *_COST_COLUMNS,
    Column("change_percent", "Cost %", "float"),
    Column("score", "Score", "float"),
    Column("difference", "Difference", "float"),
    Column("upstream", "Upstream", "float"),
    Column("table", "Table"),
)
_KEYS = dict(zip(COSTS, (column.key for column in _COST_COLUMNS), strict=True))

Rows = list[dict[str, Any]]


def _collect(options: dict[str, Any]) -> None:
    like, cheaper, budget = options["like"], options["cheaper"], options.pop("budget")
    if (like is None) != (cheaper is None):
        raise UsageError(f"--like MODEL and --cheaper COST go together; costs are {', '.join(COSTS)}")
    if like is not None and budget:
        raise UsageError("--like looks at what is published, --budget at what could be; one of them at a time")
    options["cheaper"] = None if cheaper is None else _cost(cheaper, "--cheaper")
    options["budgets"] = _budgets(budget)


def candidate_rows(architecture: str, budgets: dict[str, float], setting: Setting) -> Rows:
    """The rows of `CANDIDATE_COLUMNS`, best first.

    Raises:
        ConfigurationError: no shape meets the budgets.
    """
    shapes = candidates(architecture, budgets, setting)
    if not shapes:
        limits = ", ".join(
            f"{cost} {'of at least' if cost == 'steps/s' else 'up to'} {budgets[cost]:g}" for cost in budgets
        )
        raise ConfigurationError(f"no size of {architecture} has {limits} on {_machine(setting)}")
    return [
        {
            "name": candidate.name,
            **{_KEYS[cost]: value for cost, value in candidate.costs.items()},
            "used_percent": 100 * candidate.used,
            "score": candidate.score,
            "evidence": candidate.evidence,
        }
        for candidate in shapes
    ]


def candidate_notes(setting: Setting) -> list[str]:
    """What the rows of `candidate_rows` are."""
    return [
        f"Each size at the depth that the budget allows, up to {DEEPEST} layers: depth pays before width (Scale "
        "Efficiently, section 4.3); and published shapes. A shape stands on its own published mean of GLUE, SuperGLUE "
        "and SQuAD, else on that of a published model that is nowhere larger. Higher ones come first, then shapes that "
        "use more of the budget; no score is predicted.",
        _measured(setting),
    ]


def alternative_rows(like: ModelReference, cost: str, setting: Setting) -> Rows:
    """The rows of `ALTERNATIVE_COLUMNS`: the model in each table that has it, before what is cheaper there.

    Raises:
        ConfigurationError: no score of the model is published, so that nothing is known to be as good.
    """
    models = published_alternatives(like.architecture, like.shape, cost, setting)
    if not models:
        raise ConfigurationError(
            f"--like {like.name}: no score of it is published ({like.architecture}; "
            f"{nearest_published(like.architecture, like.shape)}); --budget finds shapes by their costs"
        )
    return [
        {
            "name": alternative.model.name,
            "architecture": alternative.model.architecture,
            **{_KEYS[cost]: value for cost, value in alternative.costs.items()},
            "change_percent": None if alternative.change is None else 100 * alternative.change,
            "score": alternative.score,
            "difference": alternative.difference,
            "upstream": alternative.model.upstream,
            "table": f"{alternative.model.source}/{alternative.model.table}",
        }
        for alternative in models
    ]


def alternative_notes(like: ModelReference, cost: str, rows: Rows, setting: Setting) -> list[str]:
    """What the rows of `alternative_rows` are, and whether there are any."""
    others = [row for row in rows if row["difference"] is not None]
    verdict = [] if others else [f"Nothing is published that is as good as {like.name} and has better {cost}."]
    worse = [row["name"] for row in others if row["difference"] < 0]
    if worse:
        verdict.append(f"{' and '.join(worse)}: offered by the paper instead, though the score is lower.")
    return [
        *verdict,
        "Models of the same table that are cheaper and score no lower, and those that the paper offers instead. Score: "
        "mean of GLUE, SuperGLUE and SQuAD as published; those of different tables don't compare.",
        _measured(setting),
    ]


def _machine(setting: Setting) -> str:
    return f"{setting.machine.chips} {setting.machine.name}"


def _measured(setting: Setting) -> str:
    batch = setting.batch
    return (
        f"Memory (of a device) and estimated steps/s: {_machine(setting)}, model parallelism "
        f"{setting.machine.model_parallel}, {batch.sequences} x {batch.inputs} + {batch.targets} tokens. FLOPs: "
        "convention paper."
    )


def _cost(text: str, where: str) -> str:
    name = {"steps_per_s": "steps/s"}.get(text.lower(), text.lower())
    if name not in COSTS:
        raise UsageError(f"{where}: no cost {text!r}; there are {', '.join(COSTS)}{nearest(name, COSTS)}")
    return name


def _budgets(texts: tuple[str, ...]) -> dict[str, float]:
    """Budgets such as `flops=8e12` or `memory=16G` by cost."""
    limits: dict[str, float] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        where = f"--budget {text}"
        if not separator:
            raise UsageError(f"{where}: COST=VALUE is accepted, such as flops=8e12; costs are {', '.join(COSTS)}")
        cost = _cost(name, where)
        if cost in limits:
            raise UsageError(f"{where}: {cost} is limited twice")
        limits[cost] = positive_quantity(value, where)
    return limits


_OPTIONS: dict[str, dict[str, Any]] = {
    "--like": {
        "metavar": "MODEL",
        "help": "Find published models that are as good as this one and cheaper; needs --cheaper.",
    },
    "--cheaper": {"metavar": "COST", "help": f"Cost that must be lower: {', '.join(COSTS)} (where more is cheaper)."},
    "--budget": {
        "multiple": True,
        "metavar": "COST=VALUE",
        "help": "Find shapes that cost at most this (steps/s: at least), such as parameters=200M, flops=8e12 or "
        "memory=16G; may be repeated.",
    },
}
# They arrive as `like`, `cheaper` and `budgets`.
choosing_options = option_group(
    *(click.option(flag, **settings) for flag, settings in _OPTIONS.items()),
    heading="Find a shape, instead of MODEL",
    collect=_collect,
)
