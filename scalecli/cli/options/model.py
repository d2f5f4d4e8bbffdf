"""The argument and the options that name a model: a preset, a shape file or a run, changed by operators."""

from __future__ import annotations

import functools
import itertools
from typing import Any

import click
from click.shell_completion import CompletionItem

from scalecli.architectures import (
    ARCHITECTURES,
    DEFAULT_ARCHITECTURE,
    IMAGE_ARCHITECTURES,
    KNOBS,
    LARGEST,
    PAPERS_KNOBS,
    load,
)
from scalecli.architectures.operators import Operator, operators
from scalecli.cli.options.groups import Command, Decorator, option_group
from scalecli.errors import ConfigurationError
from scalecli.shape import architecture_in, name_parts, parse_name, presets


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list:
    """Shell completion of a model: sizes, then operators after `small-`, and files."""
    asked = ctx.params.get("arch")
    offered = [asked] if asked in ARCHITECTURES else [DEFAULT_ARCHITECTURE, *IMAGE_ARCHITECTURES]
    names = [size for architecture in offered for size in presets(architecture) if size.startswith(incomplete.lower())]
    stem, hyphen, start = incomplete.rpartition("-")
    architecture = asked if asked in ARCHITECTURES else architecture_in(stem) or DEFAULT_ARCHITECTURE
    try:
        if hyphen:
            parse_name(stem, architecture)
            parts = [part.removesuffix("N") for part in name_parts(architecture)]
            names += [f"{stem}-{part}" for part in parts if part.startswith(start.lower())]
    except ConfigurationError:
        pass  # Nothing that operators could follow, so there are none to offer.
    return [CompletionItem(incomplete, type="file"), *map(CompletionItem, names)]  # bash forgets what is before "file"


def _complete_architecture(ctx: click.Context, param: click.Parameter, incomplete: str) -> list:
    names = [CompletionItem(name) for name in ARCHITECTURES if name.startswith(incomplete)]
    return names or [CompletionItem(incomplete, type="file")]


def _checked_operator(ctx: click.Context, param: click.Parameter, value: int | None) -> int | None:
    """Checks the bounds of a shape's fields already here, so that the error names the flag."""
    if value is not None and not 1 <= value <= LARGEST:
        raise ConfigurationError(f"{param.opts[0]} is {value}; a whole number from 1 to {LARGEST} is accepted")
    return value


def _operator_option(operator: Operator) -> Decorator:
    """An operator's option: a number, one of some words, or a flag; None arrives where it is not given."""
    if isinstance(operator.values, tuple):
        return click.option(operator.option, type=click.Choice(operator.values), help=operator.help)
    if operator.values is bool:
        return click.option(operator.option, is_flag=True, default=None, help=operator.help)
    return click.option(operator.option, type=click.INT, callback=_checked_operator, help=operator.help)


class ModelCommand(Command):
    """A command that knows the knobs of the architecture of `--arch`, which may be a file or a module of the user's."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Loads the architecture before the options are read, since it adds some."""
        if not ctx.resilient_parsing:
            for text in self._named(ctx, args):
                load(text)
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The command's own, and those of knobs that users' architectures declare."""
        return [*self.users_knobs(), *super().get_params(ctx)]

    def users_knobs(self) -> list[click.Parameter]:
        """The options of knobs that users' architectures declare."""
        taken = {flag for param in self.params for flag in param.opts}
        own = [operator for operator in operators().values() if operator.fields[0] in KNOBS.keys() - {*PAPERS_KNOBS}]
        for operator in own:
            if operator.option in taken:
                flag, knob = operator.option, operator.fields[0]
                raise ConfigurationError(f"the flag {flag} of the knob {knob} is taken: scalecli {self.name} has it")
        return [_knob_option(operator) for operator in own]

    def _named(self, ctx: click.Context, args: list[str]) -> list[str]:
        """What `--arch` names on the command line, else in its variable or in the --config file."""
        given = [value for flag, value in itertools.pairwise(args) if flag == "--arch"]
        given += [word.removeprefix("--arch=") for word in args if word.startswith("--arch=")]
        if given:
            return given
        option = next(param for param in self.params if param.name == "arch")
        value = option.value_from_envvar(ctx) or ctx.lookup_default("arch")
        return [value] if isinstance(value, str) else list(value or ())


@functools.cache
def _knob_option(operator: Operator) -> click.Parameter:
    """The option of a user's knob: one object, since click compares options by identity."""
    function = _operator_option(operator)(lambda: None)
    option: click.Parameter = function.__click_params__[0]  # type: ignore[attr-defined]
    vars(option)["heading"] = "Model"
    return option


def _collect(options: dict[str, Any]) -> None:
    values = {code: options.pop(operator.parameter, None) for code, operator in operators().items()}
    options["operators"] = {code: value for code, value in values.items() if value is not None}
    arch = options.pop("arch")
    options["architecture"] = None if arch is None else load(arch)


def _load(ctx: click.Context, param: click.Parameter, value: str | None) -> None:
    if value is not None:
        load(value)


# For commands that take a run, whose manifest says which architecture it is.
code_option = click.option(
    "--arch",
    metavar="FILE",
    callback=_load,
    expose_value=False,
    help="Your own architecture that RUN has, a file such as ./fnet.py or an installed module. A run's copy of it is "
    "never executed.",
)
# `--arch` and one option for each operator; they arrive as `architecture` and `operators`.
shape_options = option_group(
    click.option(
        "--arch",
        metavar="NAME|FILE",
        shell_complete=_complete_architecture,
        help=f"Architecture: {', '.join(ARCHITECTURES)}; or your own, a file such as ./fnet.py or an installed module "
        f"such as my_package.fnet. [default: the file's, else {DEFAULT_ARCHITECTURE}]",
    ),
    *(_operator_option(operator) for operator in operators().values() if operator.fields[0] not in KNOBS),
    option_group(
        *(_operator_option(operator) for operator in operators().values() if operator.fields[0] in PAPERS_KNOBS),
        rare=True,
    ),
    heading="Model",
    collect=_collect,
)
# The argument MODEL, as `model`, and the options of `shape_options`.
model_options = option_group(click.argument("model", shell_complete=complete_model), shape_options)
