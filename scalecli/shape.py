"""Names of shapes: the sizes, the operators on them, and the grammar of both. Pure Python.

A name is a size and any number of operators joined by hyphens, in any order and case: `small-nl24`, `NL24-SM`,
`t5-efficient-small-nl24`. The architecture may stand before the size: `switch-base`, `vit-s-nl24`. The operators are in
`scalecli.architectures.operators`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from scalecli import strict
from scalecli.architectures import (
    ARCHITECTURES,
    DEFAULT_ARCHITECTURE,
    SHARED_FIELDS,
    Shape,
    check_knobs,
    named,
    no_knob,
)
from scalecli.architectures.operators import Operator, operator_forms, operator_text, operators, read_operator
from scalecli.errors import ConfigurationError, errors_at, nearest

SIZE_ALIASES = {"sm": "small", "bs": "base", "lg": "large", "3b": "xl", "11b": "xxl"}
RELEASED_PREFIX = "t5-efficient-"
HUGGING_FACE_PREFIX = f"google/{RELEASED_PREFIX}"

_PART_START = re.compile(r"-(?=[a-z]|\d+b)")  # a minus sign before a value is no start: ff-1 is refused as a whole


def _fields(operator: Operator, architecture: str) -> tuple[str, ...]:
    """The fields that an operator sets in shapes of an architecture; none of a knob that it does not have."""
    declared = named(architecture)
    return tuple(name for name in operator.fields if declared.has(name))


def name_parts(architecture: str) -> list[str]:
    """How the operators that an architecture knows stand in names, such as `nlN` and `sh`.

    Raises:
        ConfigurationError: no architecture has that name.
    """
    return [
        form
        for code, operator in operators().items()
        if _fields(operator, architecture)
        for form in operator_forms(code)
    ]


def apply_operators(shape: Shape, changes: Mapping[str, Any], architecture: str = DEFAULT_ARCHITECTURE) -> Shape:
    """The shape with operators applied, NL before EL and DL, so that `nl` sets what `el` and `dl` leave alone.

    Raises:
        ConfigurationError: a value that is not accepted, or a knob that the architecture does not have; names the
            operator.
    """
    for code, operator in operators().items():
        if code in changes:
            with errors_at(code.upper()):
                names = _fields(operator, architecture)
                if not names:
                    raise no_knob(operator.fields[0], architecture)
                shape = shape.changed(**dict.fromkeys(names, changes[code]))
                check_knobs(shape, architecture)
    return shape


@cache
def presets(architecture: str = DEFAULT_ARCHITECTURE) -> dict[str, Shape]:
    """The sizes of one architecture by name, smallest first.

    Raises:
        ConfigurationError: no architecture has that name, or a size is not one of it.
    """
    sizes = named(architecture).sizes
    if sizes is None:
        return presets(DEFAULT_ARCHITECTURE)
    source = sizes.name if isinstance(sizes, Path) else architecture
    stated = strict.load_yaml(sizes) if isinstance(sizes, Path) else sizes
    return {name: Shape.from_dict(values, f"{source}: {name}") for name, values in stated.items()}


def architecture_in(name: str) -> str | None:
    """The architecture that stands in a name, as in `vit-s-nl24`, or None."""
    return next((part for part in _PART_START.split(name.lower()) if part in ARCHITECTURES), None)


def parse_name(name: str, architecture: str = DEFAULT_ARCHITECTURE) -> Shape:
    """The shape that a name such as `small-nl24`, `NL24-SM` or `t5-efficient-base-dm2000` stands for.

    `k` means x 1024 (`ff12k`), as does a round thousand of DM or FF in a released name (`t5-efficient-base-ff12000`).
    The architecture's own name may stand before the size's.

    Raises:
        ConfigurationError: an unknown size or operator, an operator twice, or a value that is not accepted.
    """
    text = name.lower()
    if text.startswith(HUGGING_FACE_PREFIX):
        text = text.removeprefix("google/")
    released = text.startswith(RELEASED_PREFIX)
    own = f"{architecture}-"
    sizes = {size.removeprefix(own): size for size in presets(architecture)}
    size: str | None = None
    changes: dict[str, Any] = {}
    for part in _PART_START.split(f"-{text.removeprefix(RELEASED_PREFIX)}".replace(f"-{own}", "-", 1)[1:]):
        operator = read_operator(part, released)
        if operator is not None:
            code, value = operator
            if code in changes:
                raise ConfigurationError(f"{name!r} has the operator {code.upper()} twice")
            changes[code] = value
        elif size is None and SIZE_ALIASES.get(part, part) in sizes:
            size = sizes[SIZE_ALIASES.get(part, part)]
        else:
            choices = [*sizes.values(), *name_parts(architecture)]
            raise ConfigurationError(
                f"{part!r} in {name!r} is neither a size nor an operator; there are {', '.join(choices)}"
                f"{_hyphenated(text, architecture) or nearest(part, sizes)}"
            )
    if size is None:
        first = next(iter(sizes.values()))
        raise ConfigurationError(
            f"{name!r} names no size; add one of {', '.join(sizes.values())}, as in '{first}-nl24'"
        )
    with errors_at(repr(name)):
        return apply_operators(presets(architecture)[size], changes, architecture)


def _hyphenated(text: str, architecture: str) -> str:
    """Says that hyphens instead of underscores make a name of `text`, or nothing where they do not."""
    name = text.replace("_", "-")
    if name == text:
        return ""
    try:
        parse_name(name, architecture)
    except ConfigurationError:
        return ""
    return f"; did you mean {name!r}?"


def shape_name(shape: Shape, architecture: str = DEFAULT_ARCHITECTURE) -> str:
    """The canonical name: the size that needs the fewest operators, then the operators in the order of `operators()`.

    The vocabulary is not part of a name. No preset has any sharing on, so operators reach every shape.

    Raises:
        ConfigurationError: the shape does not have the knobs of the architecture.
    """
    check_knobs(shape, architecture)
    names = [_name_from(size, preset, shape, architecture) for size, preset in presets(architecture).items()]
    return min(names, key=lambda name: name.count("-"))


def _name_from(size: str, preset: Shape, shape: Shape, architecture: str) -> str:
    """The shape's name as a change of a preset."""
    names = {*SHARED_FIELDS, *(name for name, _ in (*shape.knobs, *preset.knobs))} - {"vocabulary"}
    changed = {name for name in names if getattr(shape, name) != getattr(preset, name)}
    parts = [size]
    for code, operator in operators().items():
        own = _fields(operator, architecture)
        values = {getattr(shape, name) for name in own}
        if changed >= set(own) and len(values) == 1:
            parts.append(operator_text(code, values.pop()))
            changed -= set(own)
    return "-".join(parts)
