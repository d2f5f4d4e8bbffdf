"""Every option of every subcommand has one name: its flag, its variable and its key in --config are the same words."""

import click
import pytest

from scalecli.cli.main import COMMANDS, cli

OPTIONS = [
    (name, option)
    for name in COMMANDS
    for option in cli.get_command(click.Context(cli), name).params
    if isinstance(option, click.Option)
]


@pytest.mark.parametrize(("name", "option"), OPTIONS, ids=[f"{name} {option.opts[0]}" for name, option in OPTIONS])
def test_variables_follow_the_flags(name, option, monkeypatch):
    flag = max(option.opts, key=len)
    words = flag.removeprefix("--").replace("-", "_").upper()
    shell = click.Context(cli, auto_envvar_prefix="SCALECLI")
    context = click.Context(cli.get_command(shell, name), info_name=name, parent=shell)
    monkeypatch.setenv(f"SCALECLI_{name.upper()}_{words}", "value")
    assert option.resolve_envvar_value(context) == "value"


def test_the_places_of_runs_are_among_them():
    assert {name for name, option in OPTIONS if "--run" in option.opts} == {"import", "pretrain", "finetune", "eval"}
