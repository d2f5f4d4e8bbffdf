"""JSON for programs: one form for all commands, with the columns that scalecli/cli/README.md lists."""

import json
import re
from pathlib import Path

import pytest
import yaml

from scalecli import __version__
from scalecli.architectures import KNOBS, SHARED_FIELDS
from scalecli.cli.devices import COLUMNS as DEVICES
from scalecli.cli.output.training import PLAN_COLUMNS
from scalecli.cli.study.tables import STATUS_COLUMNS
from tests.runs.conftest import command

README = Path(__file__).parents[2] / "scalecli/cli/README.md"


def documented():
    """The table and the columns of each row of the README by its command."""
    rows = re.findall(r"^\| (`.+?) \| `(\w+)` \| (.+?) \|$", README.read_text(), re.M)
    return {name: (table, re.findall(r"[\w-]+", re.sub(r"\(.*?\)", "", columns))) for name, table, columns in rows}


LIGHT = [
    ("`shape MODEL ...`", "shape tiny", "shapes"),
    ("`shape MODEL ...`", "shape tiny switch-base vit-s", "shapes"),
    ("`shape MODEL ...`", "shape", "shapes"),
    ("`shape --released`", "shape --released --size mini", "released"),
    ("`shape --budget COST=VALUE`", "shape --budget parameters=50M", "candidates"),
    ("`shape --like MODEL --cheaper COST`", "shape --like base --cheaper parameters", "alternatives"),
    ("`flops MODEL`", "flops tiny", "components"),
    ("`flops MODEL --convention all`", "flops tiny --convention all", "components"),
    ("`study run STUDY --dry-run`", "study run scaling-micro --dry-run", "plan"),
    ("`study run`, `study status`", "study status scaling-micro", "status"),
    ("`eval --list-tasks`", "eval --list-tasks", "tasks"),
]


@pytest.mark.parametrize(("name", "words", "table"), LIGHT, ids=[words for _, words, _ in LIGHT])
def test_a_document_has_one_form_and_the_columns_that_are_documented(name, words, table, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ran = command(*words.split(), "--format", "json")
    assert ran.code == 0, ran.err
    document = json.loads(ran.out)
    assert document["version"] == __version__
    assert words.startswith(document["command"]) and list(document["tables"]) == [table]
    in_readme, columns = documented()[name]
    assert in_readme == table
    rows = document["tables"][table]
    assert rows
    for row in rows:
        assert [key for key in row if key not in (*SHARED_FIELDS, *KNOBS) or key in columns] == columns
    assert yaml.safe_load(command(*words.split(), "--format", "yaml").out)["tables"].keys() == {table}


def test_a_training_run_adds_its_columns(tmp_path):
    plain, more = (documented()[f"`shape MODEL {rest}`"][1] for rest in ("...", "--chip NAME"))
    (row,) = json.loads(command("shape", "tiny", "--chip", "tpu-v3", "--format", "json").out)["tables"]["shapes"]
    assert [key for key in row if key in plain or key not in SHARED_FIELDS] == [
        key for key in (*plain, *more) if key in row
    ]
    assert {*more} - {"as", "above", "and"} - {*row} == {"fits_with"}  # it fits


def test_a_plan_has_objects(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "text.txt").write_text("some words\n" * 99)
    ran = command(
        *["pretrain", "tiny", "--text", "text.txt", "--steps", "9", "--warmup", "3", "--dry-run", "--format", "json"]
    )
    (plan,) = json.loads(ran.out)["tables"]["plan"]
    assert plan["shape"]["d_model"] == 256 and plan["lengths"] == {"inputs": 512, "targets": 114}
    assert plan["schedule"] == {"name": "inverse-square-root", "learning_rate": 0.01, "warmup": 3}
    columns = documented()["`pretrain --dry-run`, `finetune --dry-run`"][1]
    assert [key for key in columns if key != "rates"] == list(plan)
    assert columns == [column.key for column in PLAN_COLUMNS]


def test_what_is_not_run_here_is_documented_too():
    assert documented()["`devices`"][1] == [column.key for column in DEVICES]
    assert documented()["`study run`, `study status`"][1] == [column.key for column in STATUS_COLUMNS]
