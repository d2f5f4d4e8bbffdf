"""Upstream against downstream as tables."""

from __future__ import annotations

from collections.abc import Sequence

from scalecli.analysis.rows.comparison import Row
from scalecli.analysis.statistics.agreement import agreements
from scalecli.cli.compare.tables.fits import line_table
from scalecli.cli.output.formats import FOR_PEOPLE
from scalecli.tables import Column, Table

_RANKS = (
    Column("group", "Of"),
    Column("n", "n", "float"),
    Column("spearman", "Spearman", "float"),
    Column("kendall", "Kendall", "float"),
    Column("pairs", "Pairs", "float"),
    Column("disagree", "Disagree", "float"),
)
_DISAGREEMENTS = (
    Column("group", "Of"),
    Column("better_upstream", "Better upstream"),
    Column("upstream", "by nats", "float"),
    Column("better_downstream", "Better downstream"),
    Column("downstream", "by points", "float"),
)
_SHOWN = 10  # pairs of each group that people see


def agreement_tables(rows: Sequence[Row], format: str) -> list[Table]:
    """The rank correlations, the slopes (alpha U,D) and the pairs that upstream and downstream rank differently."""
    groups = agreements(rows)
    is_for_people = format in FOR_PEOPLE
    ranks = [{**vars(agreement), "disagree": len(agreement.disagreements)} for agreement in groups]
    pairs = [
        {
            **vars(pair),
            "group": agreement.group,
            "better_upstream": pair.better_upstream.name,
            "better_downstream": pair.better_downstream.name,
        }
        for agreement in groups
        for pair in agreement.disagreements[: _SHOWN if is_for_people else None]
    ]
    slopes = [slope for agreement in groups for slope in agreement.slopes]
    nothing = ["no two models of one table, or runs that saw as much data, have both upstream and downstream"]
    more = [
        f"{agreement.group}: the {_SHOWN} clearest of {len(agreement.disagreements)} pairs; --format json has all"
        for agreement in groups
        if is_for_people and len(agreement.disagreements) > _SHOWN
    ]
    return [
        Table(
            "agreement",
            "Upstream against downstream: rank correlations",
            ranks,
            _RANKS,
            notes=[] if groups else nothing,
        ),
        line_table("upstream_downstream", "Downstream over upstream: slopes", slopes, format),
        Table("disagreements", "Pairs: better upstream, worse downstream", pairs, _DISAGREEMENTS, notes=more),
    ]
