"""`scalecli study`: many runs from one file; the plan with its cost, the runs, and how far they are."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecli.cli.options.completion import complete_studies
from scalecli.cli.options.groups import Command as GroupedCommand
from scalecli.cli.options.values import local_path
from scalecli.cli.output.formats import format_option, print_table
from scalecli.cli.output.terminal import say
from scalecli.errors import ScalecliError, UsageError

if TYPE_CHECKING:
    from scalecli.cli.study.plan import Plan
    from scalecli.studies.execution import Command, Failure


@click.group("study")
def command() -> None:
    """Run a whole study from one YAML file, and watch it.

    STUDY is a YAML file, or the name of one that comes with the package: knobs, deep-narrow or architectures at the
    papers' scale, knobs-micro, deep-narrow-micro or architectures-micro for two CPU cores. Its runs lie in
    DIRECTORY/NAME and are runs like any other: scalecli compare DIRECTORY/*.
    """


def _directory_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--directory",
        type=click.Path(),
        callback=local_path,
        metavar="DIRECTORY",
        help="Where the runs lie. [default: runs/STUDY]",
    )(function)


@command.command("run", cls=GroupedCommand)
@click.argument("study", shell_complete=complete_studies)
@_directory_option
@click.option(
    "--chip",
    metavar="NAME",
    help="Accelerator that the time is estimated for. [default: the study's, else this machine's]",
)
@click.option(
    "--chips", type=click.IntRange(1), metavar="N", help="Number of them. [default: the study's, else this machine's]"
)
@click.option("--dry-run", is_flag=True, help="Show the plan, its cost and its time, and start nothing.")
@click.option("--commands", is_flag=True, help="Print what is missing, one job a line, and start nothing.")
@click.option("--slurm", type=click.Path(), metavar="FILE", help="Write what is missing as an array job of Slurm.")
@click.option("--parallel", type=click.Path(), metavar="FILE", help="Write what is missing for GNU parallel.")
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
    """Run what is missing of STUDY, one run after the other.

    A run that fails stops none of the others, and one that another process is at work on is left to it. The same
    command goes on where a study was stopped, tries again what failed, and starts what was added to the file. A job is
    one model's runs, of which finetuning follows pretraining; jobs can be run anywhere in any order.
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
    """Show how far the runs of STUDY are.

    On a terminal the table is live until all runs have ended, or Ctrl-C; elsewhere it is printed once. Runs may be
    under way on any machine that writes to DIRECTORY. One that was killed still says running, and was written long ago.
    """
    from scalecli.cli.study.tables import STATUS_COLUMNS, status_rows, watch

    _, _, plan = _planned(study, directory)
    if format == "table" and sys.stdout.isatty():
        watch(plan)
    print_table(status_rows(plan), STATUS_COLUMNS, format)


def _planned(
    study: str, directory: Path | None, chip: str | None = None, chips: int | None = None
) -> tuple[str, Path, Plan]:
    """The study's name, its directory and its plan."""
    from scalecli.cli.study.plan import make_plan
    from scalecli.studies.study import load_study

    name, content = load_study(study)
    folder = directory or Path("runs") / name
    return name, folder, make_plan(content, study, folder, chip, chips)


def _write_jobs(name: str, folder: Path, jobs: list[list[Command]], slurm: str | None, parallel: str | None) -> None:
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


def _run_jobs(name: str, plan: Plan, jobs: list[list[Command]], format: str) -> None:
    """Runs the jobs, and prints how far the study is then.

    Raises:
        ScalecliError: some runs failed.
        InterruptedRunError: Ctrl-C or SIGTERM.
    """
    from scalecli.cli.study.tables import STATUS_COLUMNS, read_all, status_rows, totals
    from scalecli.studies.execution import run_jobs

    for line in totals(plan, read_all(plan)):
        say(line)
    if jobs:
        plan.pretraining.check_source()
    total, number = sum(map(len, jobs)), 0

    def starting(command: Command) -> None:
        nonlocal number
        number += 1
        click.echo(err=True)
        for line in (f"# {command.name}, {number} of {total}", f"$ {command.line}"):
            say(line, bold=True)

    ended = run_jobs(jobs, starting)
    print_table(status_rows(plan), STATUS_COLUMNS, format)
    for left in ended:
        if left.holder:
            say(f"{left.name}: left to {left.holder}, which is at work on it{_left_out(left)}")
    if failures := [failure for failure in ended if not failure.holder]:
        found = "; ".join(map(_described, failures))
        raise ScalecliError(f"{name}: {len(failures)} of {total} runs failed: {found}; the same command tries again")


def _described(failure: Failure) -> str:
    return f"{failure.name} by exit code {failure.code}{_left_out(failure)}"


def _left_out(failure: Failure) -> str:
    return f", so there is no {' and no '.join(failure.left_out)}" if failure.left_out else ""
