"""Laws of loss over parameters and tokens as tables."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from functools import partial
from typing import Any

from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.statistics.data_fits import DataFit, Optimum, fit_data, not_numbers
from scalecli.analysis.statistics.fits import NoFit, rms
from scalecli.analysis.statistics.intervals import Interval
from scalecli.cli.output.formats import FOR_PEOPLE
from scalecli.tables import Column, Table, humanise, keyed

_CONSTANTS = (
    Column("group", "Of"),
    Column("quality", "Quality"),
    Column("n", "n", "float"),
    Column("constant", "Constant"),
    Column("value", "Value", "float"),
    Column("interval", "95% interval"),
)
_OPTIMA = (
    Column("group", "Of"),
    Column("budget", "Training FLOPs", "flops"),
    Column("parameters", "Parameters", "count"),
    Column("parameters/interval", "95% interval"),
    Column("tokens", "Tokens", "count"),
    Column("tokens/interval", "95% interval"),
    Column("loss", "Loss", "float"),
    Column("loss/interval", "95% interval"),
)


def data_tables(rows: Sequence[Row], qualities: Sequence[str], budgets: Sequence[float], format: str) -> list[Table]:
    """A table of the constants of each law, and one of the optima for the budgets."""
    fits = [fit for quality in qualities for fit in fit_data(rows, quality, budgets)]
    fitted = [fit for fit in fits if isinstance(fit, DataFit)]
    optima = [_optimum_cells(fit.group, optimum) for fit in fitted for optimum in fit.optima]
    notes = [*_refusals(rows, qualities, fits), *(_fit_note(fit) for fit in fitted)]
    shown, best = [*_CONSTANTS], [*_OPTIMA]
    if format not in FOR_PEOPLE:
        shown, best = with_ends(_CONSTANTS), [*with_ends(_OPTIMA), Column("is_outside", "is_outside")]
    return [
        Table("data_laws", "Loss = E + A / parameters^a + B / tokens^b", _constant_cells(fitted), shown, notes=notes),
        Table("compute_optimal", "Least loss for a budget", optima, best, notes=_optimum_notes(fitted)),
    ]


def _constant_cells(fits: Sequence[DataFit]) -> list[dict[str, Any]]:
    return [
        {"group": fit.group, "quality": fit.quality, "n": fit.n, "constant": letter, **estimate_cells("", estimate)}
        for fit in fits
        for letter, estimate in fit.constants.items()
    ]


def _optimum_cells(group: str, optimum: Optimum) -> dict[str, Any]:
    return {
        "group": group,
        "budget": optimum.budget,
        **estimate_cells("parameters", optimum.parameters, counts=True),
        **estimate_cells("tokens", optimum.tokens, counts=True),
        **estimate_cells("loss", optimum.loss),
        "is_outside": optimum.is_outside,
    }


def estimate_cells(key: str, estimate: Interval, counts: bool = False) -> dict[str, Any]:
    """A figure and its interval, for programs as two numbers and for people as one text."""
    text = partial(humanise, kind="count") if counts else "{:.4g}".format
    prefix = f"{key}/" if key else ""
    return {
        key or "value": estimate.value,
        f"{prefix}low": estimate.low,
        f"{prefix}high": estimate.high,
        f"{prefix}interval": None if math.isnan(estimate.low) else f"{text(estimate.low)} to {text(estimate.high)}",
    }


def with_ends(columns: Sequence[Column]) -> list[Column]:
    """The columns with the two ends of each interval in the place of its text."""
    keys: list[str] = []
    for column in columns:
        stem = column.key.removesuffix("interval")
        keys += [column.key] if stem == column.key else [f"{stem}low", f"{stem}high"]
    return keyed(*keys)


def _refusals(rows: Sequence[Row], qualities: Sequence[str], fits: Sequence[DataFit | NoFit]) -> list[str]:
    """What has no law, and the models that are left out."""
    lines = [f"no {fit.kind}: {fit.group} (n = {fit.n}): {fit.reason}" for fit in fits if isinstance(fit, NoFit)]
    return lines + missing_figures(rows, qualities, {fit.quality for fit in fits}, "models have parameters, tokens")


def missing_figures(rows: Sequence[Row], qualities: Sequence[str], fitted: Collection[str], needed: str) -> list[str]:
    """Names the qualities that nothing has beside what is `needed`, and the models whose figures are no numbers."""
    lines = []
    for quality in qualities:
        if quality not in fitted:
            lines.append(f"nothing to fit: no {needed} and {quality}")
        if left_out := not_numbers(rows, quality):
            lines.append(f"note: left out, since {quality} is no number: {', '.join(left_out)}")
    return lines


def _fit_note(fit: DataFit) -> str:
    name, furthest = max(fit.residuals, key=lambda pair: abs(pair[1]))
    return (
        f"{fit.group}: RMS residual {rms(fit.residuals):.3g}, furthest {name} {furthest:+.3g}. Huber's loss on "
        "log(loss). 95% intervals: bootstrap over the models."
    )


def _optimum_notes(fits: Sequence[DataFit]) -> list[str]:
    lines = []
    for fit in fits:
        if fit.flops_per_product:
            mean, least, most = fit.flops_per_product
            lines.append(
                f"{fit.group}: training FLOPs are taken as {mean:.3g} x parameters x tokens, the geometric mean of the "
                f"models ({least:.3g} to {most:.3g})."
            )
        if outside := [f"{optimum.budget:.3g}" for optimum in fit.optima if optimum.is_outside]:
            lines.append(
                f"note: {fit.group}: the optimum for {', '.join(outside)} is beyond all models that were fitted"
            )
    return lines
