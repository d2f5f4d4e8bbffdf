"""The knobs that architectures add to a shape: what each may be set to, and how users write it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from scalecli.errors import ConfigurationError

Value = bool | int | str
Values = type[int] | type[bool] | tuple[str, ...]

# Of any number in a shape: beyond every shape of the papers, and small enough for exact sizes in memory.
LARGEST = 2**24


@dataclass(frozen=True)
class Knob:
    """A number, a switch or a word that an architecture adds to a shape.

    `name` is its key in shape files and manifests, and its attribute of a `Shape`. `letters` stand before its value in
    a model's name (`ne32`; a word stands alone), `flag` is its option on the command line, and `help` says what it is.
    `values`: `int` for whole numbers from 1, `bool`, or a tuple of words. `default` is the architecture's own form,
    which names, shape files and manifests leave out; without one every size states the knob. A study's `narrow` divides
    a knob that `is_width`.
    """

    name: str
    letters: str
    flag: str
    help: str
    values: Values = int
    default: Value | None = None
    is_width: bool = False


# Every knob by its name, in the order in which architectures declared them; `default` is that of the first.
KNOBS: dict[str, Knob] = {}


def check_value(name: str, value: Any, values: Values) -> None:
    """Checks a number, a switch or a word of a shape.

    Raises:
        ConfigurationError: it is none of those that are accepted.
    """
    if values is int and (type(value) is not int or not 1 <= value <= LARGEST):
        raise ConfigurationError(f"{name} is {value!r}; a whole number from 1 to {LARGEST} is accepted")
    if values is bool and type(value) is not bool:
        raise ConfigurationError(f"{name} is {value!r}; true or false is accepted")
    if isinstance(values, tuple) and value not in values:
        raise ConfigurationError(f"{name} is {value!r}; one of {', '.join(values)} is accepted")
