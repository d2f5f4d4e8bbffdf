"""Groups of options that commands share: one decorator adds them all, and turns their values into what they mean."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


def option_group(*options: Decorator, collect: Callable[[dict[str, Any]], None] | None = None) -> Decorator:
    """A decorator that adds options, which --help lists in this order.

    `collect` changes the keyword arguments, all options' values, before the command gets them.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        function = command if collect is None else _collected(command, collect)
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _collected(command: Callable[..., Any], collect: Callable[[dict[str, Any]], None]) -> Callable[..., Any]:
    @functools.wraps(command)
    def collected(*arguments: Any, **options: Any) -> Any:
        collect(options)
        return command(*arguments, **options)

    return collected
