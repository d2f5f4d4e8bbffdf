"""The argument and the options that name a model: a preset, a shape file or a run, changed by operators."""

from __future__ import annotations

from typing import Any

import click

from scalecli.architectures import ARCHITECTURES, DEFAULT_ARCHITECTURE, IMAGE_ARCHITECTURES, KNOBS, LARGEST
from scalecli.cli.options.groups import Decorator, option_group
from scalecli.errors import ConfigurationError
from scalecli.operators import Operator, operators
from scalecli.shape import architecture_in, name_parts, parse_name, presets


def complete_model(ctx: click.Context, param: click.Parameter, incomplete: str) -> list:
    """Shell completion of a model: sizes, then operators after `small-`, and files."""
    from click.shell_completion import CompletionItem

    asked = ctx.params.get("arch")
    offered = [asked] if asked in ARCHITECTURES else [DEFAULT_ARCHITECTURE, *IMAGE_ARCHITECTURES]
    names = [size for each in offered for size in presets(each) if size.startswith(incomplete.lower())]
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


def _complete_architecture(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [name for name in ARCHITECTURES if name.startswith(incomplete)]


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


def _is_knob(operator: Operator) -> bool:
    """Whether it sets what only some architectures have."""
    return operator.fields[0] in KNOBS


def _collect(options: dict[str, Any]) -> None:
    values = {code: options.pop(operator.parameter) for code, operator in operators().items()}
    options["operators"] = {code: value for code, value in values.items() if value is not None}
    options["architecture"] = options.pop("arch")


# `--arch` and one option for each operator; they arrive as `architecture` and `operators`.
shape_options = option_group(
    click.option(
        "--arch",
        metavar="NAME",
        shell_complete=_complete_architecture,
        help=f"Architecture: {', '.join(ARCHITECTURES)}. [default: the file's, else {DEFAULT_ARCHITECTURE}]",
    ),
    *(_operator_option(operator) for operator in operators().values() if not _is_knob(operator)),
    option_group(*(_operator_option(operator) for operator in operators().values() if _is_knob(operator)), rare=True),
    heading="Model",
    collect=_collect,
)
# The argument MODEL, as `model`, and the options of `shape_options`.
model_options = option_group(click.argument("model", shell_complete=complete_model), shape_options)
