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
        Mark(run.label, run.label, run.source, _budget(own), run.parameters or 1, run.quality, run.parameters)
        for own in parabolas
        for run in own.runs
    ]
    lines = []
    for own in parabolas:
        if own.coefficients:
            low, high = min(own.sizes), max(own.sizes)
            xs = tuple(low * (high / low) ** (step / _STEPS) for step in range(_STEPS + 1))
            lines.append(Line("fit", xs, tuple(own.at(x) for x in xs), _budget(own)))
    return Panel(
        f"{parabolas[0].group}: {quality} over size",
        axis("parameters", [mark.x for mark in marks], is_cost=True),
        axis(quality, [mark.y for mark in marks], is_cost=False),
        tuple(marks),
        tuple(lines),
    )


def _minima(parabolas: Sequence[Parabola], exponents: Exponents) -> Panel:
    known = [own for own in parabolas if own.parameters]
    marks = [
        Mark(_budget(own), _budget(own), "minimum", _budget(own), own.budget, own.parameters.value)
        for own in known
        if own.parameters
    ]
    assert exponents.parameters is not None and exponents.factor is not None
    xs = (known[0].budget, known[-1].budget)
    ys = tuple(exponents.factor * x**exponents.parameters.value for x in xs)
    return Panel(
        f"{exponents.group}: best size for a budget",
        axis("training_flops", [mark.x for mark in marks], is_cost=True),
        axis("parameters", [mark.y for mark in marks], is_cost=True),
        tuple(marks),
        (Line("fit", xs, ys, None, f"exponent {exponents.parameters.value:.2f}"),),
    )
