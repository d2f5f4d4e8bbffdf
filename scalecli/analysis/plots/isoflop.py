"""Figures of runs of one budget: quality over size with a parabola for each budget, and the best sizes."""

from __future__ import annotations

from collections.abc import Sequence

from scalecli.analysis.plots.build import axis
from scalecli.analysis.plots.figure import FigureSpec, Line, Mark, Panel
from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.statistics.isoflop import Exponents, Parabola, fit_isoflop
from scalecli.errors import UsageError
from scalecli.tables import humanise

_STEPS = 48  # of a curve


def isoflop_figure(rows: Sequence[Row], qualities: Sequence[str]) -> FigureSpec:
    """For each group and quality a panel of the parabolas, and beside it one of their minima where there are two.

    Raises:
        UsageError: no runs have parameters, training FLOPs and one of the qualities.
    """
    panels: list[Panel] = []
    for quality in qualities:
        for parabolas, exponents in fit_isoflop(rows, quality):
            panels.append(_parabolas(parabolas, quality))
            if exponents.parameters:
                panels.append(_minima(parabolas, exponents))
    if not panels:
        raise UsageError(f"nothing to plot: no runs have parameters, training FLOPs and {' or '.join(qualities)}")
    return FigureSpec(
        title="Runs of one budget: the best size",
        grouping="Training FLOPs",
        panels=tuple(panels),
        columns=min(2, len(panels)),
        caption=("Marks on the right are the minima of the parabolas on the left; the line is a power law of them.",)
        if any(panel.x.key == "training_flops" for panel in panels)
        else (),
    )


def _budget(parabola: Parabola) -> str:
    return humanise(parabola.budget, "flops")


def _parabolas(parabolas: Sequence[Parabola], quality: str) -> Panel:
    marks = [
        Mark(run.row.name, run.row.name, run.row.source, _budget(parabola), size, run.quality, size)
        for parabola in parabolas
        for run, size in zip(parabola.runs, parabola.sizes, strict=True)
    ]
    lines = []
    for parabola in parabolas:
        if parabola.coefficients:
            low, high = min(parabola.sizes), max(parabola.sizes)
            xs = tuple(low * (high / low) ** (step / _STEPS) for step in range(_STEPS + 1))
            lines.append(Line("fit", xs, tuple(parabola.at(x) for x in xs), _budget(parabola)))
    return Panel(
        f"{parabolas[0].group}: {quality} over size",
        axis("parameters", [mark.x for mark in marks], is_cost=True),
        axis(quality, [mark.y for mark in marks], is_cost=False),
        tuple(marks),
        tuple(lines),
    )


def _minima(parabolas: Sequence[Parabola], exponents: Exponents) -> Panel:
    marks = [
        Mark(_budget(parabola), _budget(parabola), "minimum", _budget(parabola), parabola.budget, minimum.value)
        for parabola in parabolas
        if (minimum := parabola.parameters)
    ]
    assert exponents.parameters is not None and exponents.factor is not None
    xs = (marks[0].x, marks[-1].x)
    ys = tuple(exponents.factor * x**exponents.parameters.value for x in xs)
    return Panel(
        f"{exponents.group}: best size for a budget",
        axis("training_flops", [mark.x for mark in marks], is_cost=True),
        axis("parameters", [mark.y for mark in marks], is_cost=True),
        tuple(marks),
        (Line("fit", xs, ys, None, f"exponent {exponents.parameters.value:.2f}"),),
    )
