"""What a report of a comparison says: its sections, made from the rows."""

from __future__ import annotations

import os
from collections.abc import Sequence

from scalecli.analysis.plots.figure import FigureSpec
from scalecli.analysis.report.content import Report, Section
from scalecli.analysis.rows.comparison import Row, efficient_rows
from scalecli.analysis.rows.fairness import differences, unlike
from scalecli.analysis.rows.run_costs import cost_notes, cost_of
from scalecli.storage.files import is_remote
from scalecli.tables import Column, Link, Table

_COSTS = (
    Column("name", "Name"),
    Column("kind", "Kind"),
    Column("chip", "Device"),
    Column("devices", "Devices", "float"),
    Column("hours", "Hours", "hours"),
    Column("device_hours", "Device-hours", "hours"),
    Column("kwh", "Energy, kWh", "float"),
    Column("kg_co2e", "CO2e, kg", "float"),
)
_DIFFERENCES = (
    Column("stage", "Stage"),
    Column("what", "What differs"),
    Column("value", "Value"),
    Column("runs", "Runs"),
)
_RUNS = (
    Column("name", "Name"),
    Column("manifest", "Manifest"),
    Column("kind", "Kind"),
    Column("status", "Status"),
    Column("steps", "Steps", "float"),
    Column("data", "Data"),
    Column("seed", "Seed", "float"),
    Column("created", "Created"),
    Column("git", "Git commit"),
    Column("warnings", "Warnings"),
)


def comparison_report(
    rows: Sequence[Row],
    models: Table,
    figures: Sequence[FigureSpec],
    fits: Sequence[Table],
    costs: Sequence[str],
    qualities: Sequence[str],
    directory: str,
    made: Sequence[str],
) -> Report:
    """The report of a comparison, that is to be written into `directory`.

    Args:
        rows: what is compared.
        models: the rows as a table, with notes.
        figures: pictures of them, or none.
        fits: tables of what was fitted to them, or none.
        costs: columns of what models cost, whose frontiers are named.
        qualities: columns of how good they are.
        directory: where links start from.
        made: how the report was made.
    """
    every = [run for row in rows for run in row.averaged or (row,)]
    sections = [
        Section("In short", _summary(rows, costs, qualities)),
        Section("Models", tables=[models]),
        *([Section("Figures", figures=figures)] if figures else []),
        *([Section("Fits and frontiers", tables=fits)] if fits else []),
        _unfairness(every),
        _expenses(every),
        *([_runs(every, directory)] if any(row.run for row in rows) else []),
    ]
    return Report(_title(rows), made, sections)


def _title(rows: Sequence[Row]) -> str:
    runs = sum(row.run is not None for row in rows)
    counts = [(runs, "run"), (len(rows) - runs, "published model")]
    parts = [f"{count} {what}{'' if count == 1 else 's'}" for count, what in counts if count]
    return f"Comparison of {' and '.join(parts) or 'no models'}"


def _summary(rows: Sequence[Row], costs: Sequence[str], qualities: Sequence[str]) -> list[str]:
    lines = []
    for quality in qualities:
        for cost in costs:
            frontiers: dict[tuple, list[str]] = {}  # of what was measured alike
            for row, is_efficient in zip(rows, efficient_rows(rows, cost, quality), strict=True):
                if is_efficient:
                    frontiers.setdefault(row.measured_for(cost, quality), []).append(row.name)
            if frontiers:
                names = "; and among themselves ".join(map(", ".join, frontiers.values()))
                lines.append(f"On the Pareto frontier of {cost} and {quality}: {names}.")
    by_stage: dict[str, list[str]] = {}
    for difference in differences(rows):
        by_stage.setdefault(difference.stage, []).append(difference.what)
    lines += [f"Runs are not alike in {stage}: {', '.join(whats)}." for stage, whats in by_stage.items()]
    if sum(row.run is not None for row in rows) > 1 and not by_stage:
        lines.append("The runs were made alike: the same data, vocabulary, steps, batch, precision and optimizer.")
    return lines


def _unfairness(rows: Sequence[Row]) -> Section:
    """Where the runs differ in more than what is compared, and the texts of upstream figures."""
    cells = [
        {"stage": difference.stage, "what": difference.what, "value": value, "runs": ", ".join(names)}
        for difference in differences(rows)
        for value, names in difference.runs.items()
    ]
    cells += [
        {"stage": "measuring", "what": f"{what} of {key}", "value": value, "runs": ", ".join(names)}
        for key, what in (("upstream", "text"), ("downstream", "tasks"))
        for value, names in unlike(rows, key).items()
    ]
    title = "What makes it unfair"
    if not cells:
        return Section(title, ["Nothing: the models were made and measured alike, as far as is known."])
    about = "Shapes and architectures are what is compared, seeds are meant to differ; the following differs as well."
    return Section(title, [about], tables=[Table("unfairness", title, cells, _DIFFERENCES)])


def _expenses(rows: Sequence[Row]) -> Section:
    title = "What it cost"
    costed = [(row, cost) for row in rows if (cost := cost_of(row))]
    if not costed:
        return Section(title, ["No model's speed is known."])
    cells = [
        {
            **vars(cost),
            "name": row.name,
            "kind": row.run.manifest.kind if row.run else "pretrain",
            "device_hours": cost.device_hours,
            "kg_co2e": cost.kg_co2e,
        }
        for row, cost in costed
    ]
    notes = [
        "Each run alone, without those that it was made from: its steps at its steady speed. Devices are chips, of a "
        "cpu cores.",
        *cost_notes([cost for _, cost in costed]),
    ]
    return Section(title, tables=[Table("costs", title, cells, _COSTS, notes=notes)])


def _runs(rows: Sequence[Row], directory: str) -> Section:
    cells = []
    for row in rows:
        if row.run:
            manifest, git = row.run.manifest, row.run.manifest.environment.git_commit
            cells.append(
                {
                    "name": row.name,
                    "manifest": Link(row.run.file, _link(directory, row.run.file)),
                    "kind": manifest.kind,
                    "status": manifest.status,
                    "steps": manifest.steps,
                    "data": manifest.data.name,
                    "seed": manifest.seed,
                    "created": manifest.created,
                    "git": git and f"{git[:12]}{' and changes' if manifest.environment.git_dirty else ''}",
                    "warnings": "; ".join(manifest.warnings) or None,
                }
            )
    return Section("Runs", tables=[Table("runs", "Runs", cells, _RUNS)])


def _link(directory: str, file: str) -> str:
    """The link from a page in `directory` to a file."""
    if is_remote(file) or is_remote(directory):
        return file if is_remote(file) else os.path.abspath(file)
    return os.path.relpath(file, directory)
