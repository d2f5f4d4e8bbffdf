"""What `scalecli compare` works out from its rows: fits, agreement, frontiers; the options for it, and its tables."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import click

from scalecli.analysis.rows.comparison import Row
from scalecli.cli.options.groups import option_group
from scalecli.cli.options.values import positive_quantity
from scalecli.errors import UsageError
from scalecli.tables import Table

_LAW_COSTS = "parameters,tokens"


@dataclass(frozen=True)
class Analyses:
    """What is to be worked out: lines and power laws of pairs of a cost and a quality, by `by`, and what else.

    `data_laws` are the qualities whose law over parameters and tokens is fitted; `budgets` are training FLOPs.
    `predicted` are names of models, `predicted_at` costs with values, `held_out` is `largest` or a name.
    """

    fits: tuple[tuple[str, str], ...] = ()
    by: str = "architecture"
    agreement: bool = False
    pareto: bool = False
    data_laws: tuple[str, ...] = ()
    budgets: tuple[float, ...] = ()
    predicted: tuple[str, ...] = ()
    predicted_at: tuple[tuple[str, float], ...] = ()
    held_out: str | None = None
    isoflop: bool = False

    @property
    def any(self) -> bool:
        """Whether anything is to be worked out."""
        return bool(self.fits or self.data_laws or self.agreement or self.pareto or self.isoflop or self.predicts)

    @property
    def predicts(self) -> bool:
        """Whether anything is to be predicted."""
        return bool(self.predicted or self.predicted_at or self.held_out)


def _collect(options: dict[str, Any]) -> None:
    """Raises UsageError for a --fit that is no pair, an unknown --by, and a --budget without a law to go with."""
    pairs = [_pair(text) for text in options.pop("fit")]
    laws = tuple(quality for cost, quality in pairs if cost == _LAW_COSTS)
    budgets = options.pop("budget")
    if budgets and not laws:
        raise UsageError(f"--budget goes with --fit {_LAW_COSTS}:QUALITY")
    options["analyses"] = Analyses(
        fits=tuple(pair for pair in pairs if pair[0] != _LAW_COSTS),
        by=_by(options.pop("by")),
        agreement=options.pop("agreement"),
        pareto=options.pop("pareto"),
        data_laws=laws,
        budgets=tuple(positive_quantity(text, f"--budget {text}") for text in budgets),
        predicted=options.pop("predict"),
        predicted_at=tuple(map(_cost_and_value, options.pop("predict_at"))),
        held_out=options.pop("hold_out"),
        isoflop=options.pop("isoflop"),
    )


def analysis_tables(
    rows: Sequence[Row], analyses: Analyses, costs: Sequence[str], qualities: Sequence[str], format: str
) -> list[Table]:
    """The tables of all that was asked for; `costs` and `qualities` are what frontiers are of."""
    # NumPy reads it as it is imported: waking threads takes far longer than the small products of a fit.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    tables: list[Table] = []
    if analyses.data_laws:
        from scalecli.cli.compare.tables.data_laws import data_tables

        tables += data_tables(rows, analyses.data_laws, analyses.budgets, format)
    if analyses.isoflop:
        from scalecli.cli.compare.tables.isoflop import isoflop_tables

        tables += isoflop_tables(rows, qualities, format)
    if analyses.fits:
        from scalecli.cli.compare.tables.fits import fit_tables

        tables += fit_tables(rows, analyses.fits, analyses.by, format)
    if analyses.agreement:
        from scalecli.cli.compare.tables.agreement import agreement_tables

        tables += agreement_tables(rows, format)
    if analyses.pareto:
        from scalecli.cli.compare.tables.frontiers import frontier_tables

        tables += frontier_tables(rows, costs, qualities, format)
    if analyses.predicts:
        from scalecli.cli.compare.tables.predictions import prediction_table

        asked = analyses.predicted, analyses.predicted_at, analyses.held_out
        tables.append(prediction_table(rows, costs, qualities, asked, format))
    return tables


def _pair(text: str) -> tuple[str, str]:
    cost, colon, quality = text.partition(":")
    if not colon or not cost.strip() or not quality.strip():
        raise UsageError(f"--fit {text!r}: COST:QUALITY is accepted, such as flops:upstream or parameters:glue")
    costs = ",".join(part.strip() for part in cost.split(","))
    if "," in costs and costs != _LAW_COSTS:
        raise UsageError(f"--fit {text!r}: of two costs, {_LAW_COSTS} are accepted")
    if costs == quality.strip():
        raise UsageError(f"--fit {text!r}: the cost and the quality are one column; two are accepted")
    return costs, quality.strip()


def _cost_and_value(text: str) -> tuple[str, float]:
    cost, equals, value = text.partition("=")
    if not equals or not cost.strip():
        raise UsageError(f"--predict-at {text}: COST=VALUE is accepted, such as flops=1e15")
    return cost.strip(), positive_quantity(value, f"--predict-at {text}")


def _by(text: str) -> str:
    if text == "architecture":
        return text
    from scalecli.analysis.statistics.points import check_by

    return check_by(text)


_OPTIONS: dict[str, dict[str, Any]] = {
    "--fit": {
        "multiple": True,
        "metavar": "COST:QUALITY",
        "help": "Fit a line over log10(COST) and a power law, such as flops:neg_log_ppl; of parameters,tokens:upstream "
        "E + A/N^a + B/D^b. May be given several times.",
    },
    "--budget": {
        "multiple": True,
        "metavar": "FLOPS",
        "help": "Training FLOPs to say the best parameters and tokens for, by --fit parameters,tokens:QUALITY; may be "
        "given several times. [default: those of the dearest model]",
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
    "--isoflop": {
        "is_flag": True,
        "help": "Find the best size for each budget of training FLOPs: parabolas of --quality over log10(parameters) "
        "through runs of one budget, and the exponents of their minima. --plot draws them.",
    },
    "--predict": {
        "multiple": True,
        "metavar": "MODEL",
        "help": "Predict upstream, and --quality from it, of a shape by its --cost, from the models of its "
        "architecture; may be given several times.",
    },
    "--predict-at": {
        "multiple": True,
        "metavar": "COST=VALUE",
        "help": "The same for a cost, such as flops=1e15, from each architecture.",
    },
    "--hold-out": {
        "metavar": "largest|NAME",
        "help": "Fit without the largest model of each architecture, or one by name; set predicted beside measured.",
    },
}
# They arrive together as `analyses`; columns are not checked.
analysis_options = option_group(
    *(click.option(flag, **settings) for flag, settings in _OPTIONS.items()), collect=_collect
)
