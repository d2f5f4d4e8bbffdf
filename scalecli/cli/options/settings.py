"""Options of subcommands that a YAML file states, checked as the command line checks them."""

from __future__ import annotations

from typing import Any

import click

from scalecli.architectures import load
from scalecli.cli.options.model import ModelCommand
from scalecli.errors import ConfigurationError, nearest


def checked_options(command: click.Command, section: dict[Any, Any], where: str) -> dict[str, Any]:
    """The values of a subcommand's options by the names of their arguments, from a mapping of the options' names.

    Names are those of the flags, with `-` or `_`; an option that may be repeated takes a list. `where` names the file
    and the section. A command with subcommands takes a section for each of them.

    Raises:
        ConfigurationError: an unknown option (with the nearest one), or a value that the option can't have.
    """
    if isinstance(command, click.Group):
        return {name: checked_options(*_inner(command, name, value, where)) for name, value in section.items()}
    if isinstance(command, ModelCommand) and isinstance(section.get("arch"), str):
        load(section["arch"])  # a user's own adds options
    values = {}
    for key, value in section.items():
        option = option_named(command, str(key), where)
        items = value if option.multiple and isinstance(value, list) else [value]
        for item in items:
            if item is None or isinstance(item, (dict, list)):
                given = "nothing" if item is None else repr(item)
                raise ConfigurationError(f"{where}.{key}: expected one value, found {given}")
        texts = [str(item) for item in items]  # as from the command line: true is no number, nor 1.5 a whole one
        try:
            option.type_cast_value(click.Context(command), texts if option.multiple else texts[0])
        except click.BadParameter as error:
            raise ConfigurationError(f"{where}.{key}: {' '.join(error.message.split())}") from None
        values[str(option.name)] = texts if option.multiple else value if option.is_flag else texts[0]
    return values


def _inner(group: click.Group, name: Any, section: Any, where: str) -> tuple[click.Command, dict[Any, Any], str]:
    """A subcommand of a group, its section, and where that is."""
    if name not in group.commands:
        hint = nearest(str(name), group.commands) or f"; there are {', '.join(group.commands)}"
        raise ConfigurationError(f"{where}: unknown subcommand {name!r}{hint}")
    if not isinstance(section, dict):
        raise ConfigurationError(f"{where}.{name}: expected options and their values, found {section!r}")
    return group.commands[name], section, f"{where}.{name}"


def option_named(command: click.Command, name: str, where: str) -> click.Option:
    """A subcommand's option by its flag without the dashes, words joined by `-` or `_`.

    Raises:
        ConfigurationError: there is none; names the nearest.
    """
    options = {
        flag.lstrip("-"): option
        for option in [*command.params, *(command.users_knobs() if isinstance(command, ModelCommand) else [])]
        if isinstance(option, click.Option)
        for flag in option.opts
        if flag.startswith("--")
    }
    option = options.get(name.replace("_", "-"))
    if option is None:
        hint = nearest(name.replace("_", "-"), options) or f"; there are {', '.join(options)}"
        raise ConfigurationError(f"{where}: unknown option {name!r}{hint}")
    return option


def option_words(command: click.Command, section: dict[Any, Any], where: str) -> list[str]:
    """The words of a command line that say what a mapping of options does, in its order.

    Raises:
        ConfigurationError: as `checked_options` does.
    """
    checked_options(command, section, where)
    words = []
    for key, value in section.items():
        option = option_named(command, str(key), where)
        flag = next(flag for flag in option.opts if flag.startswith("--"))
        if option.is_flag:
            words += [flag] if value else option.secondary_opts[:1]
        else:
            for item in value if isinstance(value, list) else [value]:
                words += [flag, str(item)]
    return words
