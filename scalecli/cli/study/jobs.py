"""A study's jobs for a cluster: one line of shell each, a file for GNU parallel, a Slurm array."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from pathlib import Path

from scalecli.studies.execution import RunCommand


def job_line(job: Sequence[RunCommand]) -> str:
    """The commands of a job in one line of shell; each runs if the one before it succeeded."""
    return " && ".join(command.line for command in job)


def job_lines(jobs: Sequence[Sequence[RunCommand]]) -> str:
    """A line for each job, for GNU parallel or `xargs`; the order does not matter."""
    return "".join(f"{job_line(job)}\n" for job in jobs)


def slurm_script(name: str, directory: Path, jobs: Sequence[Sequence[RunCommand]]) -> str:
    """A batch script for Slurm whose array has a task for each job.

    The user adds the cluster's partitions and devices. Tasks start in the directory where the study was planned, since
    paths may be relative, and continue where they stopped when Slurm requeues them.
    """
    log = os.path.join(os.path.abspath(directory), f"{name}-%A_%a.log")
    tasks = "".join(f"  {index}) {job_line(job)} ;;\n" for index, job in enumerate(jobs))
    return (
        "#!/bin/bash\n"
        f"#SBATCH --job-name={name}\n"
        f"#SBATCH --array=0-{len(jobs) - 1}\n"
        f"#SBATCH --output={log}\n"
        "#SBATCH --requeue\n"
        "#SBATCH --open-mode=append\n"
        "# Add what a task needs here, such as --partition, --gres=gpu:1, --cpus-per-task, --time.\n"
        f"cd {shlex.quote(os.getcwd())} || exit 1\n"
        'case "$SLURM_ARRAY_TASK_ID" in\n'
        f"{tasks}"
        '  *) echo "no job $SLURM_ARRAY_TASK_ID" >&2; exit 2 ;;\n'
        "esac\n"
    )
