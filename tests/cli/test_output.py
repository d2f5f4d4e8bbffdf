import csv
import io
import json
import os
import pty
import subprocess
import sys

import click
import pytest
import yaml
from click.testing import CliRunner

from scalecli.cli.output import Column, format_option, humanise, print_record, print_table

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


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (60_506_624, "count", "60.5M"),
        (2_850_000_000, "count", "2.85B"),
        (999_499, "count", "999K"),
        (999_500, "count", "1.00M"),
        (9_996, "count", "10.0K"),
        (99_960, "count", "100K"),
        (512, "count", "512"),
        (0, "count", "0"),
        (-1500, "count", "-1.50K"),
        (3.7e12, "flops", "3.70T"),
        (367e12, "flops", "367T"),
        (8.62e11, "flops", "862G"),
        (1.5e19, "flops", "15.0E"),
        (493_000_000, "bytes", "493 MB"),
        (12, "bytes", "12 B"),
        (-2.0206, "float", "-2.021"),
        (23, "float", "23"),
        (2.5e-7, "float", "2.5e-07"),
        ("text", "text", "text"),
        (True, "text", "yes"),
        (None, "count", "-"),
        (float("nan"), "float", "-"),
        (float("inf"), "flops", "inf"),
    ],
)
def test_numbers_as_people_read_them(value, kind, text):
    assert humanise(value, kind) == text


def test_machine_formats_keep_the_numbers(capsys):
    expected = [
        {"name": "a|b", "parameters": 60_506_624, "flops": 3.7e12, "loss": 2.0206},
        {"name": "c", "parameters": 223, "flops": None, "loss": None},
    ]
    print_table(ROWS, COLUMNS, "json")
    assert json.loads(capsys.readouterr().out) == expected
    print_table(ROWS, COLUMNS, "yaml")
    assert yaml.safe_load(capsys.readouterr().out) == expected
    print_table(ROWS, COLUMNS, "csv")
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert rows == [{key: "" if value is None else str(value) for key, value in row.items()} for row in expected]


def test_markdown_marks_and_escapes(capsys):
    print_table(ROWS, COLUMNS, "markdown", {(0, "parameters")})
    assert capsys.readouterr().out.splitlines() == [
        "| Name | Parameters | FLOPs | Loss |",
        "| --- | ---: | ---: | ---: |",
        "| a\\|b | **60.5M**\\* | 3.70T | 2.021 |",
        "| c | 223 | - | - |",
    ]


def test_a_table_in_a_pipe_is_plain_and_whole(capsys):
    wide = [{"name": "x" * 300, "parameters": 1}]
    print_table(wide, COLUMNS[:2], "table", {(0, "parameters")})
    out = capsys.readouterr().out
    assert "x" * 300 in out and "1*" in out and "\x1b" not in out
    assert all(line == line.rstrip() for line in out.splitlines())


def test_a_record(capsys):
    record = {"name": "small", "parameters": 60_506_624}
    print_record(record, COLUMNS[:2], "table")
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["Name", "small"],
        ["Parameters", "60.5M"],
    ]
    print_record(record, COLUMNS[:2], "json")
    assert json.loads(capsys.readouterr().out) == record
    print_record(record, COLUMNS[:2], "yaml")
    assert yaml.safe_load(capsys.readouterr().out) == record
    print_record(record, COLUMNS[:2], "csv")
    assert capsys.readouterr().out == "name,parameters\nsmall,60506624\n"
    print_record(record, COLUMNS[:2], "markdown")
    assert "| Parameters | 60.5M |" in capsys.readouterr().out


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


def test_no_color_is_honoured():
    out = on_a_terminal(NO_COLOR="1")
    assert not any(f"\x1b[{code}" in out for code in ("3", "4", "9"))
