"""What `scalecli compare` works out from its rows: fits, agreement, frontiers; the options for it, and its tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from scalecli.analysis.rows.comparison import Row
from scalecli.cli.options.groups import option_group
from scalecli.errors import UsageError
from scalecli.tables import Table


@dataclass(frozen=True)
class Analyses:
    """What is to be worked out: lines and power laws of pairs of a cost and a quality, by `by`, and what else."""

    fits: tuple[tuple[str, str], ...] = ()
    by: str = "architecture"
    agreement: bool = False
    pareto: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is to be worked out."""
        return bool(self.fits) or self.agreement or self.pareto


def _collect(options: dict[str, Any]) -> None:
    options["analyses"] = Analyses(
        tuple(map(_pair, options.pop("fit"))), _by(options.pop("by")), options.pop("agreement"), options.pop("pareto")
    )


def analysis_tables(
    rows: Sequence[Row], analyses: Analyses, costs: Sequence[str], qualities: Sequence[str], format: str
) -> list[Table]:
    """The tables of all that was asked for; `costs` and `qualities` are what frontiers are of."""
    tables: list[Table] = []
    if analyses.fits:
        from scalecli.cli.compare.fits import fit_tables

        tables += fit_tables(rows, analyses.fits, analyses.by, format)
    if analyses.agreement:
        from scalecli.cli.compare.agreement import agreement_tables

        tables += agreement_tables(rows, format)
    if analyses.pareto:
        from scalecli.cli.compare.frontiers import frontier_tables

        tables += frontier_tables(rows, costs, qualities, format)
    return tables


def _pair(text: str) -> tuple[str, str]:
    cost, colon, quality = text.partition(":")
    if not colon or not cost.strip() or not quality.strip():
        raise UsageError(f"--fit {text!r}: COST:QUALITY is accepted, such as flops:upstream or parameters:glue")
    return cost.strip(), quality.strip()


def _by(text: str) -> str:
    if text == "architecture":
        return text
    from scalecli.analysis.statistics.points import check_by

    return check_by(text)


_OPTIONS: dict[str, dict[str, Any]] = {
    "--fit": {
        "multiple": True,
        "metavar": "COST:QUALITY",
        "help": "Fit a line over log10(COST) and a power law, such as flops:neg_log_ppl; may be given several times.",
    },
    "--by": {
        "default": "architecture",
        "show_default": True,
        "metavar": "WHAT",
        "help": "What fits and pictures are of: each architecture, each series along one knob (knob), or one knob "
        "such as NL or FF.",
    },
    "--agreement": {"is_flag": True, "help": "Set upstream against downstream: slopes, ranks, pairs that disagree."},
    "--pareto": {
        "is_flag": True,
        "help": "Say for each --cost and --quality which models are dominated and by which, and which deeper and "
        "narrower ones to take or to train instead.",
    },
}
# They arrive together as `analyses`; columns are not checked.
analysis_options = option_group(
    *(click.option(flag, **settings) for flag, settings in _OPTIONS.items()), collect=_collect
)
