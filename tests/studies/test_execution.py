"""Runs one after the other: those that are missing, whatever happens to one of them, until someone says stop."""

import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from scalecli.errors import InterruptedRunError
from scalecli.storage.holding import FileRecord, holding
from scalecli.studies import execution
from scalecli.studies.execution import RunCommand, Unfinished, run_jobs, run_process
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
    assert RunCommand("a", "runs/a", ("pretrain", "tiny", "--text", "a b.txt")).line == (
        "scalecli pretrain tiny --text 'a b.txt'"
    )


def test_what_is_complete_is_not_run_and_a_failure_stops_its_own_job_only(program, tmp_path):
    program("import sys; sys.exit(int(sys.argv[1]))")
    save_run(tmp_path / "done", command_line="scalecli 1")
    done, good, bad = (
        RunCommand(name, tmp_path / name, (code,)) for name, code in (("done", "1"), ("good", "0"), ("bad", "5"))
    )
    names, failures = started([[done, good], [bad, good], [good]])
    assert names == ["good", "bad", "good"]
    assert failures == [Unfinished("bad", 5, ("good",))]


def test_a_killed_run_is_a_failure_like_any(program, tmp_path):
    program("import os; os.kill(os.getpid(), 9)")
    _, failures = started([[RunCommand("a", tmp_path, ())]])
    assert failures == [Unfinished("a", 137, ())]


def test_an_interrupted_run_ends_the_study(program, tmp_path):
    program("import sys; sys.exit(130)")
    names = []
    with pytest.raises(InterruptedRunError):
        run_jobs([[RunCommand(name, tmp_path, ())] for name in "ab"], lambda command: names.append(command.name))
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


def test_a_run_that_another_process_is_at_work_on_is_left_to_it(program, tmp_path):
    program("import sys; sys.exit(int(sys.argv[1]))")
    held, after, other = (RunCommand(name, tmp_path / name, ("0",)) for name in ("held", "after", "other"))
    held.directory.mkdir()
    with holding(FileRecord(held.directory), "held", lambda message: None):
        names, failures = started([[held, after], [other]])
    assert names == ["other"]
    assert failures == [Unfinished("held", 0, ("after",), f"process {os.getpid()} on {platform.node()}")]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_killing_a_study_ends_the_run_that_it_has_started(tmp_path):
    """The run is this package's own command line, which sleeps where a subcommand would work."""
    run = (
        "import os, pathlib, sys, time\n"
        "import scalecli.cli.main as shell\n"
        f"def work(*_): pathlib.Path({str(tmp_path / 'pid')!r}).write_text(str(os.getpid())); time.sleep(60)\n"
        "shell.run = work\n"
        "shell.main()\n"
    )
    study = (
        "import sys\n"
        "from scalecli.studies import execution\n"
        f"execution.PROGRAM = (sys.executable, '-c', {run!r})\n"
        "execution.run_process(())\n"
    )
    process = subprocess.Popen([sys.executable, "-c", study])
    file = tmp_path / "pid"
    until(lambda: file.exists() and file.read_text())
    child = Path(f"/proc/{file.read_text()}")
    assert child.exists()
    process.kill()
    process.wait()
    until(lambda: not child.exists() or ") Z " in (child / "stat").read_text())


def until(condition):
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)
