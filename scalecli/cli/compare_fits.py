"""What `scalecli compare` works out from its rows: fits, agreement, frontiers; the options for it, and its tables."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from scalecli.analysis.comparison import Row
from scalecli.analysis.quantities import parse_quantity
from scalecli.errors import ConfigurationError, UsageError
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

    @property
    def any(self) -> bool:
        """Whether anything is to be worked out."""
        return bool(self.fits or self.data_laws) or self.agreement or self.pareto or self.predicts

    @property
    def predicts(self) -> bool:
        """Whether anything is to be predicted."""
        return bool(self.predicted or self.predicted_at or self.held_out)


def analysis_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options of `Analyses`, which arrive as the argument `analyses`; columns are not checked.

    Raises:
        UsageError: a --fit that is no pair, a --by that points can't be grouped by, a --budget that is no number or has
            no law to go with.
    """

    @functools.wraps(function)
    def collected(
        *arguments: Any,
        fit: tuple[str, ...],
        budget: tuple[str, ...],
        by: str,
        agreement: bool,
        pareto: bool,
        predict: tuple[str, ...],
        predict_at: tuple[str, ...],
        hold_out: str | None,
        **options: Any,
    ) -> Any:
        pairs = [_pair(text) for text in fit]
        laws = tuple(quality for cost, quality in pairs if cost == _LAW_COSTS)
        if budget and not laws:
            raise UsageError(f"--budget goes with --fit {_LAW_COSTS}:QUALITY")
        fits = tuple(pair for pair in pairs if pair[0] != _LAW_COSTS)
        analyses = Analyses(
            fits=fits,
            by=_by(by),
            agreement=agreement,
            pareto=pareto,
            data_laws=laws,
            budgets=tuple(_amount(text, f"--budget {text}") for text in budget),
            predicted=predict,
            predicted_at=tuple(map(_cost_and_value, predict_at)),
            held_out=hold_out,
        )
        return function(*arguments, analyses=analyses, **options)

    command = collected
    for flag, settings in reversed(_OPTIONS.items()):
        command = click.option(flag, **settings)(command)
    return command


def analysis_tables(
    rows: Sequence[Row], analyses: Analyses, costs: Sequence[str], qualities: Sequence[str], format: str
) -> list[Table]:
    """The tables of all that was asked for; `costs` and `qualities` are what frontiers are of."""
    # NumPy reads it as it is imported: waking threads takes far longer than the small products of a fit.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    tables: list[Table] = []
    if analyses.data_laws:
        from scalecli.cli.data_tables import data_tables

        tables += data_tables(rows, analyses.data_laws, analyses.budgets, format)
    if analyses.fits:
        from scalecli.cli.fit_tables import fit_tables

        tables += fit_tables(rows, analyses.fits, analyses.by, format)
    if analyses.agreement:
        from scalecli.cli.agreement_tables import agreement_tables

        tables += agreement_tables(rows, format)
    if analyses.pareto:
        from scalecli.cli.frontier_tables import frontier_tables

        tables += frontier_tables(rows, costs, qualities, format)
    if analyses.predicts:
        from scalecli.cli.prediction_tables import prediction_table

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
    return costs, quality.strip()


def _cost_and_value(text: str) -> tuple[str, float]:
    cost, equals, value = text.partition("=")
    if not equals or not cost.strip():
        raise UsageError(f"--predict-at {text}: COST=VALUE is accepted, such as flops=1e15")
    return cost.strip(), _amount(value, f"--predict-at {text}")


def _amount(text: str, where: str) -> float:
    try:
        value = parse_quantity(text)
    except ConfigurationError as error:
        raise UsageError(f"{where}: {error}") from None
    if not 0 < value < math.inf:
        raise UsageError(f"{where}: a number above 0 is accepted, such as 1e18")
    return value


def _by(text: str) -> str:
    if text == "architecture":
        return text
    from scalecli.analysis.points import check_by

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
    "--predict": {
        "multiple": True,
        "metavar": "MODEL",
        "help": "Predict upstream, and --quality from it, of a shape by its --cost (flops or parameters), from the "
        "models of its architecture; may be given several times.",
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
