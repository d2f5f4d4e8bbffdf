"""What `scalecli study` prints: the plan with its totals, and the progress of the runs, live on a terminal."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from typing import Any

from scalecli.cli.options.machine import run_notes
from scalecli.cli.output.formats import print_notes, print_table, table_text
from scalecli.cli.output.progress import duration
from scalecli.cli.output.training import LENGTHS_NOTE
from scalecli.cli.study.plan import Plan, PlannedRun, hours_by_run
from scalecli.costs.hardware import energy_kwh
from scalecli.studies.progress import COMPLETED, MISSING, RunStatus, read_progress
from scalecli.tables import Column, humanise

SECONDS_BETWEEN_LOOKS = 2.0
_SECONDS_PER_HOUR = 3600

PLAN_COLUMNS = (
    Column("run", "Run"),
    Column("parameters", "Parameters", "count"),
    Column("steps", "Steps"),
    Column("flops", "Training FLOPs", "flops"),
    Column("hours", "Time", "hours"),
    Column("fits", "Fits"),
    Column("to_do", "To do"),
)
STATUS_COLUMNS = (
    Column("run", "Run"),
    Column("status", "Status"),
    Column("step", "Step", "float"),
    Column("steps", "Of", "float"),
    Column("loss", "Loss", "float"),
    Column("upstream", "Upstream", "float"),
    Column("downstream", "Downstream", "float"),
    Column("steps_per_s", "Steps/s", "float"),
    Column("left", "Left"),
    Column("written", "Written"),
)
# What fits into 80 columns.
LIVE_COLUMNS = tuple(column for column in STATUS_COLUMNS if column.key not in ("upstream", "downstream"))


def print_plan(plan: Plan, format: str) -> None:
    """Prints every run with its cost and what is left of it, and the totals."""
    progress = read_all(plan)
    rows = [
        {
            "run": run.command.name,
            "parameters": run.parameters,
            "steps": run.steps,
            "flops": run.flops,
            "hours": hours,
            "fits": run.fits,
            "to_do": _to_do(run, now),
        }
        for run, now, hours in zip(plan.runs, progress, hours_by_run(plan.runs, progress), strict=True)
    ]
    print_table("plan", rows, PLAN_COLUMNS, format)
    print_notes([*totals(plan, progress), *run_notes(plan.machine)], format)


def totals(plan: Plan, progress: Sequence[RunStatus]) -> list[str]:
    """What the whole study costs, and what is left of it."""
    hours = hours_by_run(plan.runs, progress)
    measured = sum(now.steps_per_s is not None for now in progress)
    basis = f"times are at the speed of {measured} measured runs" if measured else "times are estimates"
    left = [_share_left(run, now) for run, now in zip(plan.runs, progress, strict=True)]
    problems = {run.problem: run for run in plan.runs if run.problem}
    return [
        f"all: {_cost(plan, hours, [1.0] * len(left))}",
        f"to do: {_cost(plan, hours, left)} ({basis}, with start-up and compiling)",
        *(f"{run.command.name}: no estimate of its time ({problem})" for problem, run in problems.items()),
        *_spent(plan),
        *([LENGTHS_NOTE] if any(run.kind == "finetune" for run in plan.runs) else []),
    ]


def _spent(plan: Plan) -> list[str]:
    """How much of its budget each run spends, where there are budgets."""
    shares = [run.flops / run.budget for run in plan.runs if run.budget]
    if not shares:
        return []
    return [f"budgets pay for whole steps: runs spend {min(shares):.1%} to {max(shares):.1%} of theirs"]


def _cost(plan: Plan, hours: Sequence[float | None], shares: Sequence[float]) -> str:
    """The total cost of these shares of the runs."""
    flops = sum(run.flops * share for run, share in zip(plan.runs, shares, strict=True))
    counted = f"{sum(share > 0 for share in shares)} runs, {humanise(flops, 'flops')} training FLOPs"
    parts = [whole and whole * share for whole, share in zip(hours, shares, strict=True) if share]
    if None in parts:
        return f"{counted}, in a time that is not known"
    taken = sum(filter(None, parts))
    machine = plan.machine.machine
    kwh = energy_kwh(machine, taken * _SECONDS_PER_HOUR, plan.machine.pue)
    where = "this machine" if plan.is_here else f"{machine.chips} {machine.name}"
    if plan.is_here and machine.name != "cpu":
        where += f" ({machine.chips} {machine.name})"
    return (
        f"{counted}, {duration(taken * _SECONDS_PER_HOUR)} on {where}, "
        f"{taken * machine.chips:.3g} device-hours, {kwh:.3g} kWh, {kwh * plan.machine.grid:.3g} kg CO2e"
    )


def _share_left(run: PlannedRun, now: RunStatus) -> float:
    if now.is_done(run.command.line):
        return 0.0
    return 1 - min(now.step, run.steps - 1) / run.steps


def _to_do(run: PlannedRun, now: RunStatus) -> str:
    if now.is_done(run.command.line):
        return "nothing"
    if now.status == COMPLETED:
        return "check: made by another command"
    return f"continue from {now.step}" if now.step else "all"


def read_all(plan: Plan) -> list[RunStatus]:
    """The progress of each run of a plan."""
    return [read_progress(run.command.directory) for run in plan.runs]


def status_rows(plan: Plan) -> list[dict[str, Any]]:
    """The present rows of `STATUS_COLUMNS`."""
    return [_status_row(run, now) for run, now in zip(plan.runs, read_all(plan), strict=True)]


def _status_row(run: PlannedRun, now: RunStatus) -> dict[str, Any]:
    is_begun = now.status not in (COMPLETED, MISSING)
    return {
        "run": run.command.name,
        "status": now.status,
        "step": now.step,
        "steps": run.steps,
        "loss": now.loss,
        "upstream": now.upstream,
        "downstream": now.downstream,
        "steps_per_s": now.steps_per_s,
        "left": duration((run.steps - now.step) / now.steps_per_s) if is_begun and now.steps_per_s else None,
        "written": None if now.updated is None else f"{duration(max(0.0, time.time() - now.updated))} ago",
    }


def watch(plan: Plan) -> None:
    """Shows the status on a terminal, live until every run has ended, or Ctrl-C."""
    from rich.live import Live
    from rich.text import Text

    def table() -> Text:
        width = shutil.get_terminal_size().columns
        return Text(table_text(status_rows(plan), LIVE_COLUMNS, width=width), no_wrap=True, overflow="crop")

    with contextlib.suppress(KeyboardInterrupt), Live(auto_refresh=False, transient=True) as live:
        while not all(now.status in (COMPLETED, "failed") for now in read_all(plan)):
            live.update(table(), refresh=True)
            time.sleep(SECONDS_BETWEEN_LOOKS)
