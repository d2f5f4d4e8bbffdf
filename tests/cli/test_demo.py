"""The demo prints each command before it runs it, and stops where one fails."""

import contextlib
from types import SimpleNamespace

import pytest

from scalecli.cli import demo
from scalecli.cli.main import run


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """The commands that the demo runs, which do nothing but end with the codes in `ends`."""
    ran, ends = [], {}

    def pretend(words):
        ran.append(words)
        return contextlib.nullcontext(SimpleNamespace(wait=lambda: ends.get(words[0], 0)))

    monkeypatch.setattr(demo, "start_child", pretend)
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


def test_the_demo_stays_out_of_buckets(commands, capsys):
    assert run(["demo", "gs://bucket/demo"]) == 3
    assert "gs://bucket/demo: what is written to must be a local directory" in capsys.readouterr().err
    assert commands[0] == []
