"""Groups of options that commands share: one decorator adds them all, and --help lists them under one heading."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import click

from scalecli.cli.options.values import finite
from scalecli.errors import UsageError

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option_group(
    *options: Decorator,
    heading: str | None = None,
    rare: bool = False,
    collect: Callable[[dict[str, Any]], None] | None = None,
) -> Decorator:
    """A decorator that adds options, which --help lists in this order.

    Args:
        options: click's options, or other groups, which keep headings of their own.
        heading: what the options stand under, with those of other groups that have the same one.
        rare: whether only --help-all lists them.
        collect: changes the keyword arguments, all options' values, before the command gets them.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        function = command if collect is None else _collected(command, collect)
        before = len(getattr(function, "__click_params__", ()))
        for option in reversed(options):
            function = option(function)
        for added in function.__click_params__[before:]:  # type: ignore[attr-defined]
            if heading:
                vars(added).setdefault("heading", heading)
            if rare:
                vars(added)["is_rare"] = True
        return function

    return decorate


def number_option(
    flag: str, default: float, help: str, metavar: str = "N", callback: Callable[..., Any] | None = None
) -> Decorator:
    """An option for a number of the default's type, which must be finite unless another callback checks it."""
    return click.option(
        flag,
        type=type(default),
        callback=callback or (finite if isinstance(default, float) else None),
        default=default,
        show_default=True,
        metavar=metavar,
        help=help,
    )


def _collected(command: Callable[..., Any], collect: Callable[[dict[str, Any]], None]) -> Callable[..., Any]:
    @functools.wraps(command)
    def collected(*arguments: Any, **options: Any) -> Any:
        collect(options)
        return command(*arguments, **options)

    return collected


class Command(click.Command):
    """A command whose --help lists its options under the headings of their groups, and the rare ones in --help-all."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, once no value is an address with letters missing, which would be a local path.

        Raises:
            UsageError: one is.
        """
        values = [*args, *(ctx.default_map or {}).values(), *(param.value_from_envvar(ctx) for param in self.params)]
        for value in values:
            if not ctx.resilient_parsing and (address := _ADDRESS_WITHOUT_SLASHES.match(str(value))):
                scheme, rest = address["scheme"].lower(), address["rest"]
                raise UsageError(f"{address[0]}: {scheme}://{rest} is an address, ./{scheme}:/{rest} a local path")
        return super().parse_args(ctx, args)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        """The options of the command, --debug, --help-all where it says more than --help, and --help."""
        *own, help_option = super().get_params(ctx)
        return [*own, _DEBUG, *([_HELP_ALL] if any(map(_is_rare, own)) else []), help_option]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the options under the headings of their groups, in the order in which the headings come up."""
        sections: dict[str, list[tuple[str, str]]] = {}
        params = self.get_params(ctx)
        left_out = [] if ctx.meta.get(_ALL) else [param for param in params if _is_rare(param)]
        for param in params:
            record = param.get_help_record(ctx) if isinstance(param, click.Option) else None
            if record and param not in left_out:
                flag, text = record[0], _BOUNDS.sub("]", record[1]).removesuffix("  []")
                sections.setdefault(getattr(param, "heading", _NO_HEADING), []).append((flag, text))
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)
        if left_out:
            formatter.write_paragraph()
            formatter.write_text(f"{len(left_out)} more options, which few runs need: {ctx.command_path} --help-all")


_NO_HEADING = "Options"
_ADDRESS_WITHOUT_SLASHES = re.compile(r"(--[\w-]+=)?(?P<scheme>gs|s3|https?):/?(?P<rest>(?!/).*)", re.IGNORECASE)
_BOUNDS = re.compile(r"(?<=\[)[\d.<>=x]+\]$|; [\d.<>=x]+\]$")  # of a number, which an error states where it matters
_ALL = "scalecli.help_all"


def _is_rare(param: click.Parameter) -> bool:
    return getattr(param, "is_rare", False)


def _debug(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.ensure_object(dict)["debug"] = True


def _show_all(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    if value:
        ctx.meta[_ALL] = True
        click.echo(ctx.get_help())
        ctx.exit()


# click finds the options that are given among all options by identity: there is one object of each.
_DEBUG, _HELP_ALL = (
    click.Option([flag], is_flag=True, is_eager=True, expose_value=False, callback=callback, help=help)
    for flag, callback, help in (
        ("--debug", _debug, "Show the traceback of an error."),
        ("--help-all", _show_all, "Show all options and exit."),
    )
)
