"""The demo prints each command before it runs it, and stops where one fails."""

import os
import signal
import subprocess
import sys

import pytest

from scalecli.cli import demo
from scalecli.cli.main import run


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The commands that the demo runs, which do nothing but end with the codes in `ends`."""
    ran, ends = [], {}

    def pretend(words, shows_output):
        ran.append(words)
        return ends.get(words[0], 0)

    monkeypatch.setattr(demo, "run_process", pretend)
    monkeypatch.setattr(demo, "_write_task", lambda file, cache: ran.append(["task", str(file)]))
    return ran, ends


def test_the_demo_runs_the_six_steps(commands, tmp_path, capsys):
    ran, _ = commands
    assert run(["demo", str(tmp_path / "demo"), "--cache-directory", str(tmp_path)]) == 0
    steps = [words[0] for words in ran]
    assert steps == ["shape", "flops", "pretrain", "task", "finetune", "eval", "compare"]
    printed = capsys.readouterr().out
    for words in ran:
        assert words[0] == "task" or f"$ scalecli {words[0]}" in printed


def test_every_command_of_the_demo_parses(commands, tmp_path):
    """Nothing is trained: options and published names are checked with `--help` and by name."""
    from scalecli.analysis.papers.published import published_models
    from scalecli.cli.main import cli

    ran, _ = commands
    assert run(["demo", str(tmp_path / "demo")]) == 0
    for words in ran:
        if words[0] != "task":
            command = cli.get_command(None, words[0])
            command.make_context(words[0], list(words[1:]))  # raises for an option that is not there
    assert set(ran[-1][4:]) <= set(published_models())


def test_a_step_that_fails_ends_the_demo_with_its_code(commands, tmp_path, capsys):
    ran, ends = commands
    ends["pretrain"] = 4
    assert run(["demo", str(tmp_path / "demo")]) == 4
    assert ran[-1][0] == "pretrain"
    assert "pretrain ended with exit code 4" in capsys.readouterr().err


def test_ctrl_c_waits_until_the_step_has_saved(tmp_path):
    """As in a terminal, the signal goes to the demo and to the step that it has started."""
    step = (
        "import signal, sys, time\n"
        "if sys.argv[1] != 'pretrain': sys.exit(0)\n"
        "def save(*_): time.sleep(1); print('saved', flush=True); sys.exit(130)\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "signal.signal(signal.SIGINT, save)\n"
        "print('ready', flush=True)\n"
        "time.sleep(60)\n"
    )
    program = (
        "import sys\n"
        "from scalecli.cli.main import main\n"
        "from scalecli.studies import execution\n"
        f"execution.PROGRAM = (sys.executable, '-c', {step!r})\n"
        f"main(['demo', {str(tmp_path / 'demo')!r}])\n"
    )
    words = [sys.executable, "-c", program]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    with subprocess.Popen(words, **pipes) as process:
        while (line := process.stdout.readline()) != "ready\n":
            assert line, process.stderr.read()
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "saved\n")
    assert err == "error: demo: pretrain was interrupted; the same command goes on from here\n"


def test_the_demo_stays_out_of_buckets(commands, capsys):
    assert run(["demo", "gs://bucket/demo"]) == 3
    assert "gs://bucket/demo: what is written to must be a local directory" in capsys.readouterr().err
    assert commands[0] == []
