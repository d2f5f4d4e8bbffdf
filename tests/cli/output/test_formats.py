import csv
import io
import json
import os
import pty
import subprocess
import sys

import click
import yaml
from click.testing import CliRunner

from scalecli import __version__
from scalecli.cli.output.formats import format_option, print_notes, print_record, print_table, print_tables
from scalecli.tables import Column, Table

COLUMNS = [
    Column("name", "Name"),
    Column("parameters", "Parameters", "count"),
    Column("flops", "FLOPs", "flops"),
    Column("loss", "Loss", "float"),
]
ROWS = [
    {"name": "a|b", "parameters": 60_506_624, "flops": 3.7e12, "loss": 2.0206, "unseen": 1},
    {"name": "c", "parameters": 223, "flops": None, "loss": float("nan")},
]


def test_machine_formats_keep_the_numbers(capsys):
    expected = [
        {"name": "a|b", "parameters": 60_506_624, "flops": 3.7e12, "loss": 2.0206},
        {"name": "c", "parameters": 223, "flops": None, "loss": None},
    ]
    print_table("models", ROWS, COLUMNS, "json")
    assert json.loads(capsys.readouterr().out)["tables"] == {"models": expected}
    print_table("models", ROWS, COLUMNS, "yaml")
    assert yaml.safe_load(capsys.readouterr().out)["tables"] == {"models": expected}
    print_table("models", ROWS, COLUMNS, "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows == [{key: "" if value is None else str(value) for key, value in row.items()} for row in expected]


def test_a_table_in_a_pipe_is_plain_and_whole(capsys):
    wide = [{"name": "x" * 300, "parameters": 1}]
    print_tables([Table("models", "", wide, COLUMNS[:2], {(0, "parameters")})])
    out = capsys.readouterr().out
    assert "x" * 300 in out and "1*" in out and "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_objects_and_lists_are_text_for_people_and_kept_for_programs(capsys):
    record = {"shape": {"heads": 4, "d_ff": 64}, "schedule": {"name": "linear", "rate": 0.5}, "devices": ["a", "b"]}
    columns = [Column(key, key) for key in record]
    print_record("plan", record, columns)
    lines = [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()]
    assert lines == ["heads 4, d_ff 64", "linear, rate 0.5", "a, b"]
    print_record("plan", record, columns, "json")
    assert json.loads(capsys.readouterr().out)["tables"] == {"plan": [record]}


def test_a_record(capsys):
    record = {"name": "small", "parameters": 60_506_624}
    print_record("models", record, COLUMNS[:2], "table")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Name", "small"],
        ["Parameters", "60.5M"],
    ]
    print_record("models", record, COLUMNS[:2], "json")
    assert json.loads(capsys.readouterr().out)["tables"] == {"models": [record]}
    print_record("models", record, COLUMNS[:2], "yaml")
    assert yaml.safe_load(capsys.readouterr().out)["tables"] == {"models": [record]}
    print_record("models", record, COLUMNS[:2], "csv")
    assert capsys.readouterr().out == "name,parameters\nsmall,60506624\n"
    print_record("models", record, COLUMNS[:2], "markdown")
    assert "| Parameters | 60.5M |" in capsys.readouterr().out


TABLES = [
    Table("models", "The models", ROWS, COLUMNS[:2], {(0, "parameters")}, ["one note"]),
    Table("losses", "The losses", ROWS, [COLUMNS[0], COLUMNS[3]]),
]


def test_several_tables_under_their_titles(capsys):
    print_tables(TABLES)
    assert capsys.readouterr().out.splitlines() == [
        *("The models", "Name  Parameters", "─────────────────", "a|b        60.5M*", "c            223", "one note"),
        *("", "The losses", "Name   Loss", "───────────", "a|b   2.021", "c         -"),
    ]
    print_tables(TABLES, "markdown")
    out = capsys.readouterr().out
    assert "### The models\n\n| Name | Parameters |\n" in out and "| c | 223 |\n\none note\n\n### The losses" in out
    print_tables(TABLES, "latex")
    out = capsys.readouterr().out
    assert out.count("\\begin{tabular}") == 2 and "% The losses\n" in out and "% one note\n" in out


def test_tables_are_one_document_for_programs(capsys):
    tables = {
        "models": [{"name": "a|b", "parameters": 60_506_624}, {"name": "c", "parameters": 223}],
        "losses": [{"name": "a|b", "loss": 2.0206}, {"name": "c", "loss": None}],
    }
    expected = {"command": None, "version": __version__, "tables": tables}
    print_tables(TABLES, "json")
    captured = capsys.readouterr()
    assert (json.loads(captured.out), captured.err) == (expected, "one note\n")
    print_tables(TABLES, "yaml")
    assert yaml.safe_load(capsys.readouterr().out) == expected


def test_one_table_has_the_same_document_and_no_title(capsys):
    print_tables(TABLES[:1], "json")
    assert json.loads(capsys.readouterr().out)["tables"]["models"][1] == {"name": "c", "parameters": 223}
    print_tables(TABLES[:1], "csv")
    assert capsys.readouterr().out == "name,parameters\na|b,60506624\nc,223\n"
    print_tables(TABLES[:1])
    assert capsys.readouterr().out.splitlines()[0] == "Name  Parameters"


def test_notes_are_comments_in_latex(capsys):
    print_notes(["a\nb"], "latex")
    assert capsys.readouterr().out == "% a b\n"


def test_the_option_arrives_as_format():
    @click.command()
    @format_option
    def show(format):
        click.echo(format)

    assert CliRunner().invoke(show, []).output == "table\n"
    assert CliRunner().invoke(show, ["--format", "yaml"]).output == "yaml\n"
    assert CliRunner().invoke(show, ["--format", "xml"]).exit_code == 2


def on_a_terminal(**environment):
    """What `scalecli compare` writes to a terminal of 60 columns."""
    parent, child = pty.openpty()
    code = "from scalecli.cli.main import main; main(['compare', 'small', 'small-nl24'])"
    settings = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR")}
    settings |= {"TERM": "xterm-256color", "COLUMNS": "60", **environment}
    with subprocess.Popen([sys.executable, "-c", code], stdout=child, env=settings) as process:
        os.close(child)
        written = b""
        while True:
            try:
                chunk = os.read(parent, 65536)
            except OSError:
                break
            if not chunk:
                break
            written += chunk
        assert process.wait(timeout=60) == 0
    os.close(parent)
    return written.decode()


def test_a_terminal_gets_bold_within_its_width():
    out = on_a_terminal()
    assert "\x1b[1m" in out
    plain = out
    for sequence in ("\x1b[1m", "\x1b[0m"):
        plain = plain.replace(sequence, "")
    assert "\x1b" not in plain
    assert max(map(len, plain.split("\r\n"))) <= 60
    assert plain.split("\r\n")[0].split() == ["Name", "Parameters", "FLOPs", "Upstream", "Downstream"]


def test_no_color_is_honoured():
    out = on_a_terminal(NO_COLOR="1")
    assert not any(f"\x1b[{code}" in out for code in ("3", "4", "9"))
