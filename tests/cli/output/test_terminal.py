"""What a manifest, a name or an error says never drives a terminal, nor a spreadsheet, in any form of output."""

import ast
import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from scalecli.cli.output.formats import FORMATS
from scalecli.tables import csv_cell
from tests.analysis.runs import save_run
from tests.manifests import example_manifest
from tests.runs.conftest import command

EVIL = "=a\x1b]0;title\x07\x9b31m\u202eb\nc\r\u2066"


def lines_of(text):
    return text.split("\n")


@pytest.fixture
def evil(tmp_path):
    data = replace(example_manifest().data, name=EVIL, identity=EVIL)
    scores = {f"{EVIL}/accuracy": 50.0, "validation/negative_log_perplexity": -4.0}
    other = {f"{EVIL}/accuracy": 60.0, "validation/negative_log_perplexity": -3.0}
    one = save_run(tmp_path / "one", name=EVIL, data=data, results={300: scores}, warnings=[EVIL], command_line=EVIL)
    return [one, save_run(tmp_path / "two", name=f"{EVIL}2", steps=301, results={300: other})]


@pytest.mark.parametrize("format", FORMATS)
def test_tables_and_their_notes(evil, format):
    for words in (["compare", *evil], ["compare", evil[0]], ["compare", "--list", str(Path(evil[0]).parent)]):
        ran = command(*words, "--format", format)
        assert ran.code == 0, ran.err
        assert all(line.isprintable() for line in lines_of(ran.out + ran.err)), (words, ran.out, ran.err)
        if words == ["compare", *evil] and format in ("json", "yaml"):
            rows = {"json": json.loads, "yaml": yaml.safe_load}[format](ran.out)["tables"]["models"]
            assert [row["name"] for row in rows] == [EVIL, f"{EVIL}2"]  # nothing is lost


def test_errors(tmp_path):
    ran = command("shape", EVIL)
    assert ran.code and all(line.isprintable() for line in lines_of(ran.err)), ran.err
    (tmp_path / "run.yaml").write_text(f"schema: 1\n{json.dumps(EVIL)}: 1\n")
    ran = command("compare", tmp_path / "run.yaml")
    assert ran.code == 3 and all(line.isprintable() for line in lines_of(ran.err)), ran.err


def test_cells_of_csv_are_no_formulas(evil):
    rows = list(csv.DictReader(io.StringIO(command("compare", *evil, "--format", "csv").out)))
    assert rows[0]["name"].startswith("'=a") and float(rows[0]["upstream"]) == -4.0
    assert [csv_cell(value) for value in ("=1", "+1", "-1", "@a", "a=1", -1.5, None, "")] == [
        *("'=1", "'+1", "'-1", "'@a", "a=1", -1.5, None, "")
    ]


def test_lines_on_stderr_are_printed_by_one_function():
    """Whoever prints past it prints what its own module has made printable, or rich's live line."""
    folder = Path(__file__).parents[3] / "scalecli/cli"
    past = set()
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            is_call = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args
            if is_call and node.func.attr in ("echo", "secho") and "err" in {word.arg for word in node.keywords}:
                past.add(file.relative_to(folder).as_posix())
    assert past == {"main.py", "output/terminal.py"}


def test_what_cannot_be_is_not_the_best(tmp_path):
    def run(name, figure):
        return save_run(tmp_path / name, results={300: {"validation/negative_log_perplexity": figure}})

    runs = [run("absurd", 1e30), run("good", -2.0), run("bad", -3.0)]
    ran = command("compare", *runs, "--format", "json")
    rows = {row["name"]: row for row in json.loads(ran.out)["tables"]["models"]}
    assert rows["absurd"]["upstream"] == 1e30
    assert {name for name, row in rows.items() if "upstream" in row["best"]} == {"good"}
    assert {name for name, row in rows.items() if row["pareto"]} == {"good"}
    assert "note: absurd: upstream of 1e+30 is no such figure, and is not compared" in ran.err
    fitted = command("compare", *runs, "--columns", "name", "--fit", "parameters:upstream")
    assert "note: absurd: upstream of 1e+30 is no such figure, and is not compared" in fitted.err
