"""`eval --list-tasks`, and what is refused before TensorFlow is imported."""

import json
import subprocess
import sys
from functools import partial

import pytest


@pytest.fixture
def evaluate(invoke):
    return partial(invoke, "eval")


def test_the_tasks_are_listed(evaluate):
    code, out, _ = evaluate("--list-tasks", "--format", "json")
    rows = {row["task"]: row for row in json.loads(out)["tables"]["tasks"]}
    assert code == 0
    assert rows["cola"]["group"] == "glue" and rows["cola"]["metrics"] == ["matthews"]
    assert rows["multirc"]["metrics"] == ["f1", "group_exact_match"] and rows["multirc"]["examples"] == 27_243
    assert rows["squad"]["lengths"] == {"inputs": 512, "targets": 97} and rows["ax"]["group"] == ""
    groups = [row["group"] for row in rows.values()]
    assert groups.count("glue") == 9 and groups.count("superglue") == 9 and groups.count("rainbow") == 6


def test_listing_needs_no_tensorflow():
    program = (
        "import sys; from scalecli.cli.main import run; code = run(['eval', '--list-tasks']);"
        "sys.exit(code or 'tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "no run: give its directory, or --list-tasks"),
        (["run", "--tasks", "colla"], 3, "did you mean 'cola'?"),
        (["run", "--tasks", ","], 2, "--tasks names none"),
        (["run", "--tasks", "cola", "--task", "a.yaml"], 2, "two ways to say it"),
        (["run", "--data-dir", "x"], 2, "--data-dir goes with --tasks"),
        (["run", "--tasks", "cola", "--text", "a.txt"], 2, "are different things to measure; give one"),
        (["run", "--tasks", "cola", "--batch", 0], 2, "'--batch': 0 is not in the range"),
        (["run", "--tasks", "cola", "--checkpoints", "newest"], 3, "'newest'; accepted: all, best, last"),
        (["nowhere", "--tasks", "cola"], 4, "nowhere"),
    ],
)
def test_what_cannot_be_is_one_line(evaluate, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    exit_code, out, err = evaluate(*arguments)
    assert (exit_code, out, err.count("\n")) == (code, "", 1)
    assert message in err
