"""Every option of every subcommand has one name: its flag, its variable and its key in --config are the same words."""

import click
import pytest

from scalecli.cli.main import COMMANDS, cli
from scalecli.cli.options.devices import devices_asked_for
from scalecli.references import resolve_model

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


@pytest.mark.parametrize(
    ("name", "devices"),
    [("base", 1), ("large-nl36", 2), ("xl-nl32", 8), ("xxl", 32), ("lconv-xl", 8), ("switch-xl", 1), ("vit-b", 1)],
)
def test_a_model_is_shared_by_as_many_devices_as_in_the_papers(name, devices):
    model = resolve_model(name)
    options = {"strategy": "auto", "tpu": None, "model_parallel": None, "deterministic": False}
    asked = devices_asked_for(dict(options), model.architecture, model.shape)
    assert (asked.parallel_on(64), asked.parallel_on(33)) == (devices, 1)
    told = devices_asked_for({**options, "model_parallel": 4}, model.architecture, model.shape)
    assert told.parallel_on(64) == told.parallel_on(33) == 4
