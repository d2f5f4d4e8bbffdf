"""Runs one after the other, each in its own process: a run that fails stops none of the others."""

from __future__ import annotations

import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalecli.errors import HeldError, InterruptedRunError
from scalecli.storage.holding import FileRecord, Holder, living_holder
from scalecli.studies.child import PROGRAM, start_child
from scalecli.studies.progress import read_progress
from scalecli.training.signals import asked_to_stop

SECONDS_BETWEEN_LOOKS = 0.2


@dataclass(frozen=True)
class RunCommand:
    """The command of one run: the run's name in the study, its directory, and the words after `scalecli`."""

    name: str
    directory: Path
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        """The command as it is typed and as the run's manifest records it."""
        return shlex.join(["scalecli", *self.words])

    @property
    def is_done(self) -> bool:
        """Whether its run is complete."""
        return read_progress(self.directory).is_done(self.line)

    def holder(self) -> Holder | None:
        """The process that is working on its run, if any. Raises as `living_holder` does."""
        return living_holder(FileRecord(self.directory))


@dataclass(frozen=True)
class Unfinished:
    """A run that failed, with its exit code, or that `holder`, another process, is working on.

    `not_started` are the runs that need it.
    """

    name: str
    code: int
    not_started: tuple[str, ...]
    holder: str | None = None


def run_jobs(jobs: Sequence[Sequence[RunCommand]], on_start: Callable[[RunCommand], None]) -> list[Unfinished]:
    """Carries out the missing runs in order; returns those that failed or that other processes are working on.

    A job is a chain of commands, each of which needs the run before it. `on_start` is called before each run.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM, after the present run has saved a checkpoint.
    """
    unfinished = []
    for job in jobs:
        for position, command in enumerate(job):
            if command.is_done:
                continue
            code, holder = 0, command.holder()
            if holder is None:
                on_start(command)
                code = run_process(command.words)
                if code == InterruptedRunError.exit_code:
                    raise InterruptedRunError(f"{command.name}: interrupted; the same command continues")
                if code == HeldError.exit_code:
                    holder = command.holder()  # it has come in the meantime
            if code or holder:
                not_started = tuple(later.name for later in job[position + 1 :])
                unfinished.append(Unfinished(command.name, code, not_started, str(holder) if holder else None))
                break
    return unfinished


def run_process(words: Sequence[str], shows_output: bool = False) -> int:
    """Runs `scalecli` with these words in its own process, usually without its output; returns its exit code.

    The process ends when this one does, even by SIGKILL. Ctrl-C and SIGTERM are passed on, and the process is waited
    for; a second Ctrl-C kills it.

    Raises:
        KeyboardInterrupt: a second Ctrl-C.
    """
    with asked_to_stop() as asked:
        process = start_child(words, PROGRAM, stdout=None if shows_output else subprocess.DEVNULL)
        is_told = False
        try:
            while True:
                try:
                    code = process.wait(SECONDS_BETWEEN_LOOKS)
                    break
                except subprocess.TimeoutExpired:
                    if asked() and not is_told:
                        process.terminate()
                        is_told = True
        except KeyboardInterrupt:
            process.kill()
            process.wait()
            raise
        if asked():
            return InterruptedRunError.exit_code
    return code if code >= 0 else 128 - code
