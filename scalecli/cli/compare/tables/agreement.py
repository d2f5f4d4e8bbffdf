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
    found = agreements(rows)
    is_for_people = format in FOR_PEOPLE
    ranks = [
        {
            "group": each.group,
            "n": each.n,
            "spearman": each.spearman,
            "kendall": each.kendall,
            "pairs": each.pairs,
            "disagree": len(each.disagreements),
        }
        for each in found
    ]
    pairs = [
        {
            "group": each.group,
            "better_upstream": pair.better_upstream.name,
            "upstream": pair.upstream,
            "better_downstream": pair.better_downstream.name,
            "downstream": pair.downstream,
        }
        for each in found
        for pair in (each.disagreements[:_SHOWN] if is_for_people else each.disagreements)
    ]
    slopes = [slope for each in found for slope in each.slopes]
    nothing = (
        []
        if found
        else ["no two models of one table, or runs that saw as much data, have both upstream and downstream"]
    )
    more = [
        f"{each.group}: the {_SHOWN} clearest of {len(each.disagreements)} pairs; --format json has all"
        for each in found
        if is_for_people and len(each.disagreements) > _SHOWN
    ]
    return [
        Table("agreement", "Upstream against downstream: rank correlations", ranks, _RANKS, notes=nothing),
        line_table("upstream_downstream", "Downstream over upstream: slopes", slopes, format),
        Table("disagreements", "Pairs: better upstream, worse downstream", pairs, _DISAGREEMENTS, notes=more),
    ]
