"""--help lists options by groups, as wide as the terminal; the rare ones only in --help-all."""

import re

import click
import pytest

from scalecli.architectures.operators import operators
from scalecli.cli import main as shell
from scalecli.cli.options.groups import Command, option_group
from tests.runs.conftest import command

inner = option_group(click.option("--seed", type=click.IntRange(0, 9), default=1, show_default=True, help="Seed."))


@click.command("trial", cls=Command)
@option_group(
    click.option("--text", help="Text."),
    inner,
    option_group(click.option("--devices", help="Devices."), heading="Devices"),
    option_group(click.option("--taps", help="Taps."), rare=True),
    heading="Data",
)
@click.option("--port", help="Port.")
@option_group(click.option("--split", help="Split."), heading="Data")
def trial(**options):
    click.echo(options)


def help_of(words, monkeypatch, columns=80):
    monkeypatch.setenv("COLUMNS", str(columns))
    ran = command(*words)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def test_options_stand_under_the_headings_of_their_groups():
    text = trial.get_help(click.Context(trial, info_name="trial"))
    assert (
        text.split("\n\n", 1)[1]
        == """\
Data:
  --text TEXT           Text.
  --seed INTEGER RANGE  Seed.  [default: 1]
  --split TEXT          Split.

Devices:
  --devices TEXT  Devices.

Options:
  --port TEXT  Port.
  --debug      Show the traceback of an error.
  --help-all   Show all options and exit.
  --help       Show this message and exit.

1 more options, which few runs need: trial --help-all"""
    )


def test_pretrain_shows_six_groups_and_no_knob_of_one_architecture(monkeypatch):
    text, everything = (help_of(["pretrain", flag], monkeypatch) for flag in ("--help", "--help-all"))
    headings = ["Model", "Data", "Training", "Checkpoints", "Devices", "Output", "Options"]
    assert re.findall(r"^(\w+):$", text, re.M) == re.findall(r"^(\w+):$", everything, re.M) == headings
    missing = {line.split()[0] for line in everything.splitlines() if line.startswith("  -")} - set(text.split())
    assert {"--experts", "--taps", "--patch-size", "--profile"} <= missing
    assert not {"--nl", "--sh", "--steps", "--run"} & missing
    assert f"{len(missing)} more options" in text and "more options" not in everything
    assert {operator.option for operator in operators().values()} <= set(everything.split())


@pytest.mark.parametrize("columns", [60, 80, 120, 200])
def test_help_is_as_wide_as_the_terminal(monkeypatch, columns):
    widest = max(map(len, help_of(["pretrain", "--help"], monkeypatch, columns).splitlines()))
    assert columns - 15 < widest <= columns


def test_every_option_says_what_it_is():
    """More than one word, and not its default alone."""
    odd = []
    for name in shell.COMMANDS:
        subcommand = shell.cli.get_command(click.Context(shell.cli), name)
        for option in subcommand.params:
            if isinstance(option, click.Option):
                text = re.sub(r" \[default: .*\]$", "", option.help or "")
                if not re.match(r".+ .+\.$", text):
                    odd.append(f"{name} {option.opts[0]}: {text}")
    assert odd == []


def test_help_is_a_command_too(monkeypatch):
    assert help_of(["help", "flops"], monkeypatch) == help_of(["flops", "--help"], monkeypatch)
    assert help_of(["help", "study", "run"], monkeypatch) == help_of(["study", "run", "--help"], monkeypatch)
    assert help_of(["help"], monkeypatch) == help_of(["--help"], monkeypatch)


def test_debug_may_stand_behind_the_subcommand():
    for words in (["--debug", "flops", "smal"], ["flops", "--debug", "smal"], ["flops", "smal", "--debug"]):
        ran = command(*words)
        assert ran.code == 3 and "Traceback" in ran.err and ran.err.splitlines()[-1].startswith("error: ")


@pytest.mark.parametrize(
    ("given", "address", "local"),
    [
        ("gs:/b/run", "gs://b/run", "./gs:/b/run"),
        ("GS:b", "gs://b", "./gs:/b"),
        ("https:/a/b.txt", "https://a/b.txt", "./https:/a/b.txt"),
    ],
)
def test_an_address_that_lacks_a_slash_is_no_local_path(given, address, local, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    line = f"{given}: {address} is an address, {local} a local path\n"
    for words in (["pretrain", given, "--dry-run"], ["compare", "small", "--report", given]):
        ran = command(*words)
        assert (ran.code, ran.err) == (2, f"error: {line}")
    ran = command("import", "x", f"--run={given}")
    assert (ran.code, ran.err) == (2, f"error: --run={line}")
    monkeypatch.setenv("SCALECLI_SHAPE_OUTPUT", given)
    assert command("shape", "tiny").err == f"error: {line}"
    (tmp_path / "config.yaml").write_text(f"compare: {{tables: '{given}'}}\n")
    assert command("--config", "config.yaml", "compare", "small").err == f"error: {line}"
    assert not (tmp_path / given.split("/")[0]).exists()
    assert command("compare", "./gs:/x").err.startswith("error: ./gs:/x: neither ")
