"""`scalecli study`: many runs from one file; the plan with its cost, the runs, and their progress."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalecli.cli.options.completion import complete_studies
from scalecli.cli.options.groups import Command as GroupedCommand
from scalecli.cli.options.values import local_path
from scalecli.cli.output.formats import format_option, print_table
from scalecli.cli.output.terminal import say
from scalecli.errors import ScalecliError, UsageError

if TYPE_CHECKING:
    from scalecli.cli.study.plan import Plan
    from scalecli.studies.execution import RunCommand, Unfinished


@click.group("study")
def command() -> None:
    """Run a whole study from one YAML file, and watch it.

    STUDY is a YAML file, or the name of one that comes with the package: knobs, deep-narrow or architectures at the
    papers' scale, scaling-micro, architectures-micro or isoflop-micro for two CPU cores. Each run has a directory of
    its own within the study's, and is a run like any other: scalecli compare runs/STUDY/*.
    """


_directory_option = click.option(
    "--directory",
    type=click.Path(),
    callback=local_path,
    metavar="DIRECTORY",
    help="Directory of the runs. [default: runs/STUDY]",
)


@command.command("run", cls=GroupedCommand)
@click.argument("study", shell_complete=complete_studies)
@_directory_option
@click.option(
    "--chip",
    metavar="NAME",
    help="Estimate the time for this accelerator. [default: the study's, else this machine's]",
)
@click.option(
    "--chips",
    type=click.IntRange(1),
    metavar="N",
    help="How many. [default: the study's, else this machine's]",
)
@click.option("--dry-run", is_flag=True, help="Show every run with its cost and time, and start nothing.")
@click.option("--commands", is_flag=True, help="Print the missing jobs, one shell line each, and start nothing.")
@click.option("--slurm", type=click.Path(), metavar="FILE", help="Write the missing jobs as an array job for Slurm.")
@click.option("--parallel", type=click.Path(), metavar="FILE", help="Write the missing jobs for GNU parallel.")
@format_option
def run(
    study: str,
    directory: Path | None,
    chip: str | None,
    chips: int | None,
    dry_run: bool,
    commands: bool,
    slurm: str | None,
    parallel: str | None,
    format: str,
) -> None:
    """Carry out the missing runs of STUDY, one after the other.

    A run that fails does not stop the others, and a run that another process is working on is left to it. The same
    command continues a study that was stopped, tries failed runs again, and starts those that were added to the file. A
    job is the runs of one model, pretraining and then finetuning; jobs may run anywhere and in any order.
    """
    if sum((dry_run, commands, slurm is not None, parallel is not None)) > 1:
        raise UsageError("--dry-run, --commands, --slurm and --parallel: give one of them")
    name, folder, plan = _planned(study, directory, chip, chips)
    if dry_run:
        from scalecli.cli.study.tables import print_plan

        print_plan(plan, format)
        return
    jobs = [[run.command for run in job if not run.command.is_done] for job in plan.jobs]
    jobs = [job for job in jobs if job]
    if commands or slurm or parallel:
        _write_jobs(name, folder, jobs, slurm, parallel)
        return
    _run_jobs(name, plan, jobs, format)


@command.command("status", cls=GroupedCommand)
@click.argument("study", shell_complete=complete_studies)
@_directory_option
@format_option
def status(study: str, directory: Path | None, format: str) -> None:
    """Show the progress of the runs of STUDY.

    On a terminal the table is live until all runs have ended, or Ctrl-C; elsewhere it is printed once. Runs may be
    on any machine that writes to DIRECTORY. A run that was killed still says "running"; its "Written" is long ago.
    """
    from scalecli.cli.study.tables import STATUS_COLUMNS, status_rows, watch

    _, _, plan = _planned(study, directory)
    if format == "table" and sys.stdout.isatty():
        watch(plan)
    print_table("status", status_rows(plan), STATUS_COLUMNS, format)


def _planned(
    study: str, directory: Path | None, chip: str | None = None, chips: int | None = None
) -> tuple[str, Path, Plan]:
    """The study's name, its directory and its plan."""
    from scalecli.cli.study.plan import make_plan
    from scalecli.studies.study import load_study

    name, content = load_study(study)
    folder = directory or Path("runs") / name
    return name, folder, make_plan(content, study, folder, chip, chips)


def _write_jobs(name: str, folder: Path, jobs: list[list[RunCommand]], slurm: str | None, parallel: str | None) -> None:
    """Prints or writes the jobs for a cluster."""
    from scalecli.cli.study.jobs import job_lines, slurm_script
    from scalecli.storage.files import write_atomically

    if not jobs:
        say(f"{name}: nothing is missing")
    elif slurm:
        folder.mkdir(parents=True, exist_ok=True)  # Slurm makes no directories for the logs
        write_atomically(slurm, slurm_script(name, folder, jobs))
        say(f"{len(jobs)} jobs; start them by: sbatch {slurm}")
    elif parallel:
        write_atomically(parallel, job_lines(jobs))
        say(f"{len(jobs)} jobs; start them by: parallel --joblog {parallel}.log < {parallel}")
    else:
        click.echo(job_lines(jobs), nl=False)


def _run_jobs(name: str, plan: Plan, jobs: list[list[RunCommand]], format: str) -> None:
    """Carries out the jobs, and prints the progress of the study.

    Raises:
        ScalecliError: some runs failed.
        InterruptedRunError: Ctrl-C or SIGTERM.
    """
    from scalecli.cli.study.tables import STATUS_COLUMNS, read_all, status_rows, totals
    from scalecli.studies.execution import run_jobs

    for line in totals(plan, read_all(plan)):
        say(line)
    if jobs:
        plan.pretraining.source.check()
    total, number = sum(map(len, jobs)), 0

    def on_start(command: RunCommand) -> None:
        nonlocal number
        number += 1
        click.echo(err=True)
        for line in (f"# {command.name}, {number} of {total}", f"$ {command.line}"):
            say(line, bold=True)

    unfinished = run_jobs(jobs, on_start)
    print_table("status", status_rows(plan), STATUS_COLUMNS, format)
    for run in unfinished:
        if run.holder:
            say(f"{run.name}: left to {run.holder}, which is at work on it{_not_started(run)}")
    if failures := [f"{run.name} by exit code {run.code}{_not_started(run)}" for run in unfinished if not run.holder]:
        raise ScalecliError(
            f"{name}: {len(failures)} of {total} runs failed: {'; '.join(failures)}; the same command tries again"
        )


def _not_started(run: Unfinished) -> str:
    return f", so there is no {' and no '.join(run.not_started)}" if run.not_started else ""
