"""Runs one after the other: those that are missing, whatever happens to one of them, until someone says stop."""

import os
import signal
import sys
import threading
import time

import pytest

from scalecli.errors import InterruptedRunError
from scalecli.studies import execution
from scalecli.studies.execution import Command, Failure, run_jobs, run_process
from tests.analysis.runs import save_run


@pytest.fixture
def program(monkeypatch):
    """Makes a Python program the one that is run; its arguments are the words of a command."""

    def be(source):
        monkeypatch.setattr(execution, "PROGRAM", (sys.executable, "-c", source))

    return be


def started(jobs):
    """The names of the runs that were started, and the failures."""
    names = []
    failures = run_jobs(jobs, lambda command: names.append(command.name))
    return names, failures


def test_a_command_is_that_of_the_manifest():
    assert Command("a", "runs/a", ("pretrain", "tiny", "--text", "a b.txt")).line == (
        "scalecli pretrain tiny --text 'a b.txt'"
    )


def test_what_is_complete_is_not_run_and_a_failure_stops_its_own_job_only(program, tmp_path):
    program("import sys; sys.exit(int(sys.argv[1]))")
    save_run(tmp_path / "done", command_line="scalecli 1")
    done, good, bad = (
        Command(name, tmp_path / name, (code,)) for name, code in (("done", "1"), ("good", "0"), ("bad", "5"))
    )
    names, failures = started([[done, good], [bad, good], [good]])
    assert names == ["good", "bad", "good"]
    assert failures == [Failure("bad", 5, ("good",))]


def test_a_killed_run_is_a_failure_like_any(program, tmp_path):
    program("import os; os.kill(os.getpid(), 9)")
    _, failures = started([[Command("a", tmp_path, ())]])
    assert failures == [Failure("a", 137, ())]


def test_an_interrupted_run_ends_the_study(program, tmp_path):
    program("import sys; sys.exit(130)")
    names = []
    with pytest.raises(InterruptedRunError):
        run_jobs([[Command(name, tmp_path, ())] for name in "ab"], lambda command: names.append(command.name))
    assert names == ["a"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_handed_on_and_the_run_is_waited_for(program, tmp_path, number):
    """The run ends in its own time and well, and yet nothing is started after it."""
    ready, saved = tmp_path / "ready", tmp_path / "saved"
    program(
        "import pathlib, signal, sys, time\n"
        f"def save(*_): time.sleep(0.3); pathlib.Path({str(saved)!r}).touch(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, save)\n"
        f"pathlib.Path({str(ready)!r}).touch()\n"
        "time.sleep(60)\n"
    )

    def send():
        while not ready.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=send).start()
    assert run_process(()) == 130
    assert saved.exists()


def test_a_second_ctrl_c_kills(program, tmp_path, monkeypatch):
    ready = tmp_path / "ready"
    program(
        "import os, pathlib, signal, time\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        f"pathlib.Path({str(ready)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(60)\n"
    )

    def send():
        while not (ready.exists() and ready.read_text()):
            time.sleep(0.01)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.5)

    thread = threading.Thread(target=send)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        try:
            run_process(())
        finally:
            thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(ready.read_text()), 0)
