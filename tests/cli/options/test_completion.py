"""What the shell offers, as bash itself shows it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from scalecli.cli.main import cli
from tests.analysis.runs import save_run


def offered(*words):
    from click.shell_completion import ShellComplete

    *before, incomplete = words
    items = ShellComplete(cli, {}, "scalecli", "_SCALECLI_COMPLETE").get_completions(before, incomplete)
    return [item.value for item in items if item.type == "plain"]


def test_tasks_are_offered_one_after_the_other():
    assert offered("finetune", "RUN", "--tasks", "superglue") == ["superglue", "superglue_rte"]
    assert offered("eval", "RUN", "--tasks", "cola,ss") == ["cola,sst2"]
    assert "cola,cola" not in offered("eval", "RUN", "--tasks", "cola,co")


def test_studies_are_offered_by_name():
    assert offered("study", "run", "arch") == ["architectures", "architectures-micro"]


def test_columns_are_offered_with_the_results_of_the_runs_that_are_named(tmp_path):
    save_run(tmp_path / "first", results={600: {"sst2/accuracy": 90.0}}, best=None)
    assert offered("compare", str(tmp_path / "first"), "--columns", "name,s") == [
        "name,source",
        "name,steps_per_s",
        "name,sst2/accuracy",
    ]
    assert offered("compare", "small", str(tmp_path / "none"), "--sort", "up") == ["upstream"]
    assert offered("compare", "--columns", "par") == ["parameters", "pareto"]


@pytest.mark.parametrize("subcommand", ["finetune", "eval", "export"])
def test_runs_are_offered_in_the_folder_typed_so_far(subcommand, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_run(tmp_path / "runs/first")
    save_run(tmp_path / "other/second")
    (tmp_path / "other/no-run").mkdir()
    assert offered(subcommand, "") == ["runs/first"]
    assert offered(subcommand, "other/") == ["other/second"]
    assert offered(subcommand, f"{tmp_path}/other/s") == [f"{tmp_path}/other/second"]
    assert offered(subcommand, "nowhere/x") == []


@pytest.mark.parametrize(("word", "expected"), [("small-n", ["small-nh", "small-nl"]), ("ti", ["tiny"])])
def test_bash_shows_names_beside_files(word, expected, tmp_path):
    """bash forgets what comes before an item of type "file"."""
    program = tmp_path / "scalecli"
    program.write_text(f"#!/bin/sh\nexec {sys.executable} -m scalecli\n")
    program.chmod(0o755)
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[3]), "COMP_WORD": word}
    asked = {**environment, "_SCALECLI_COMPLETE": "bash_source"}
    script = subprocess.run([program], env=asked, capture_output=True, text=True).stdout
    assert "_scalecli_completion" in script
    lines = f"""{script}
compopt() {{ :; }}
COMP_WORDS=(scalecli shape "$COMP_WORD")
COMP_CWORD=2
_scalecli_completion {program}
echo "${{COMPREPLY[@]}}"
"""
    ran = subprocess.run(["bash", "-c", lines], capture_output=True, text=True, env=environment)
    assert set(expected) <= set(ran.stdout.split()), ran
