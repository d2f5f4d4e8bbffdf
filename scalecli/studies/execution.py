"""One run after the other on one device, each in a process of its own: a run that fails stops none of the others."""

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
class Command:
    """What makes one run: its name in the study, its directory, and the words after `scalecli`."""

    name: str
    directory: Path
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        """The command as it is typed, and as the run's manifest keeps it."""
        return shlex.join(["scalecli", *self.words])

    @property
    def is_done(self) -> bool:
        """Whether its run is complete."""
        return read_progress(self.directory).is_done(self.line)

    def holder(self) -> Holder | None:
        """The process that is at work on its run, if there is one. Raises as `living_holder` does."""
        return living_holder(FileRecord(self.directory))


@dataclass(frozen=True)
class Failure:
    """A run that ended with another exit code than 0, and the runs that need it and were not started.

    Of one that was left to the process which is at work on it, `holder` says which, and there is no exit code.
    """

    name: str
    code: int
    left_out: tuple[str, ...]
    holder: str | None = None


def run_jobs(jobs: Sequence[Sequence[Command]], starting: Callable[[Command], None]) -> list[Failure]:
    """Runs what is missing, in order; returns what failed, and what another process is at work on.

    A job is a chain of commands, each of which needs the run of the one before it. `starting` is told of each command
    that is started.

    Raises:
        InterruptedRunError: Ctrl-C or SIGTERM, after the run that was under way has saved a checkpoint.
    """
    failures = []
    for job in jobs:
        for position, command in enumerate(job):
            if command.is_done:
                continue
            code, holder = 0, command.holder()
            if holder is None:
                starting(command)
                code = run_process(command.words)
                if code == InterruptedRunError.exit_code:
                    raise InterruptedRunError(f"{command.name}: interrupted; the same command goes on from there")
                if code == HeldError.exit_code:
                    holder = command.holder()  # one that came between
            if code or holder:
                left_out = tuple(later.name for later in job[position + 1 :])
                failures.append(Failure(command.name, code, left_out, str(holder) if holder else None))
                break
    return failures


def run_process(words: Sequence[str]) -> int:
    """Runs `scalecli` with these words in a process of its own; returns its exit code. Its results are not shown.

    It ends with this process, even where that is killed. Ctrl-C and SIGTERM are handed on, and the process is waited
    for; a second Ctrl-C kills it.

    Raises:
        KeyboardInterrupt: a second Ctrl-C.
    """
    with asked_to_stop() as asked:
        process = start_child(words, PROGRAM, stdout=subprocess.DEVNULL)
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
