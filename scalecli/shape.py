"""Shapes of encoder-decoder models: the sizes, the operators on them, and the grammar of their names. Pure Python.

A name is a size and any number of operators joined by hyphens, in any order and case: `small-nl24`, `NL24-SM`,
`t5-efficient-small-nl24`. The operators are those of "Scale Efficiently", Table 2.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cache
from typing import Any

import yaml

from scalecli import shapes_directory
from scalecli.errors import ConfigurationError, nearest
from scalecli.specs import VOCABULARY_ROWS

# Operator -> the fields that it sets. NL sets both stacks (Scale Efficiently, Table 2).
OPERATORS: dict[str, tuple[str, ...]] = {
    "nl": ("encoder_layers", "decoder_layers"),
    "el": ("encoder_layers",),
    "dl": ("decoder_layers",),
    "dm": ("d_model",),
    "kv": ("d_kv",),
    "nh": ("heads",),
    "ff": ("d_ff",),
}
SIZE_ALIASES = {"sm": "small", "bs": "base", "lg": "large", "3b": "xl", "11b": "xxl"}
RELEASED_PREFIX = "t5-efficient-"
LARGEST = 2**24  # of any one field: beyond every shape of the papers, and small enough for exact sizes in memory

_PART_START = re.compile(r"-(?=[a-z]|\d+b)")  # a minus sign before a value is no start: ff-1 is refused as a whole
# No field has more than eight digits, and Python refuses to read numbers of thousands of them.
_OPERATOR = re.compile(r"(nl|el|dl|dm|kv|nh|ff)(-?\d{1,12})(k?)")


@dataclass(frozen=True)
class Shape:
    """The numbers that fix a model's size.

    `encoder_layers`, `decoder_layers`: blocks of each stack. `d_model`: width of the residual stream. `d_ff`: hidden
    width of the feed-forward layers. `d_kv`: width of one attention head. `heads`: attention heads. `vocabulary`: rows
    of the embedding.

    Raises:
        ConfigurationError: a field that is no whole number between 1 and 2^24.
    """

    encoder_layers: int
    decoder_layers: int
    d_model: int
    d_ff: int
    d_kv: int
    heads: int
    vocabulary: int = VOCABULARY_ROWS

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if type(value) is not int or not 1 <= value <= LARGEST:
                raise ConfigurationError(f"{field.name} is {value!r}; a whole number from 1 to {LARGEST} is accepted")

    def to_dict(self) -> dict[str, int]:
        """Every field by name."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> Shape:
        """The shape whose fields `values` names; `where` says in an error which file or manifest they are from.

        Raises:
            ConfigurationError: a key too many or missing, or a value that can't be.
        """
        names = [field.name for field in fields(cls)]
        for key in values:
            if key not in names:
                raise ConfigurationError(
                    f"{where}: unknown key {key!r}; a shape has {', '.join(names)}{nearest(str(key), names)}"
                )
        missing = [name for name in names if name not in values and name != "vocabulary"]
        if missing:
            raise ConfigurationError(f"{where}: the shape lacks {', '.join(missing)}")
        try:
            return cls(**values)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from None


def apply_operators(shape: Shape, operators: Mapping[str, int]) -> Shape:
    """The shape with operators applied, NL before EL and DL, so that `nl` sets what `el` and `dl` leave alone.

    Raises:
        ConfigurationError: a value that can't be, named by its operator.
    """
    for operator in OPERATORS:
        if operator in operators:
            try:
                shape = replace(shape, **dict.fromkeys(OPERATORS[operator], operators[operator]))
            except ConfigurationError as error:
                raise ConfigurationError(f"{operator.upper()}: {error}") from None
    return shape


@cache
def presets(architecture: str = "transformer") -> dict[str, Shape]:
    """The sizes of one architecture by name, smallest first, from shapes/ARCHITECTURE.yaml.

    Raises:
        ConfigurationError: no architecture has that name.
    """
    paths = {path.stem: path for path in sorted(shapes_directory().glob("*.yaml"))}
    if architecture not in paths:
        raise ConfigurationError(
            f"no architecture {architecture!r}; there are {', '.join(paths)}{nearest(architecture, paths)}"
        )
    path = paths[architecture]
    sizes = yaml.safe_load(path.read_text(encoding="utf-8"))
    return {name: Shape.from_dict(values, f"{path.name}: {name}") for name, values in sizes.items()}


def parse_name(name: str, architecture: str = "transformer") -> Shape:
    """The shape that a name such as `small-nl24`, `NL24-SM` or `t5-efficient-base-dm2000` stands for.

    `k` means x 1024 (`ff12k`), as does a round thousand of DM or FF in a released name (`t5-efficient-base-ff12000`).

    Raises:
        ConfigurationError: an unknown size or operator, an operator twice, or a value that can't be.
    """
    text = name.lower()
    released = text.startswith(RELEASED_PREFIX)
    sizes = presets(architecture)
    size: str | None = None
    operators: dict[str, int] = {}
    for part in _PART_START.split(text.removeprefix(RELEASED_PREFIX)):
        match = _OPERATOR.fullmatch(part)
        if match:
            operator, value = match[1], int(match[2])
            if operator in operators:
                raise ConfigurationError(f"{name!r} has the operator {operator.upper()} twice")
            if released and operator in ("dm", "ff") and value % 1000 == 0:
                value = value // 1000 * 1024
            operators[operator] = value * 1024 if match[3] else value
        elif size is None and SIZE_ALIASES.get(part, part) in sizes:
            size = SIZE_ALIASES.get(part, part)
        else:
            choices = [*sizes, *(f"{operator}N" for operator in OPERATORS)]
            raise ConfigurationError(
                f"{part!r} in {name!r} is neither a size nor an operator; there are {', '.join(choices)}"
                f"{_hyphenated(text, architecture) or nearest(part, sizes)}"
            )
    if size is None:
        raise ConfigurationError(f"{name!r} names no size; add one of {', '.join(sizes)}, as in 'small-nl24'")
    try:
        return apply_operators(sizes[size], operators)
    except ConfigurationError as error:
        raise ConfigurationError(f"{name!r}: {error}") from None


def _hyphenated(text: str, architecture: str) -> str:
    """Says that hyphens instead of underscores make a name of `text`, or nothing where they don't."""
    name = text.replace("_", "-")
    if name == text:
        return ""
    try:
        parse_name(name, architecture)
    except ConfigurationError:
        return ""
    return f"; did you mean {name!r}?"


def shape_name(shape: Shape, architecture: str = "transformer") -> str:
    """The canonical name: the size that needs the fewest operators, then the operators in the order of Table 2.

    The vocabulary is not part of a name.
    """
    return min((_name_from(size, preset, shape) for size, preset in presets(architecture).items()), key=_operator_count)


def _operator_count(name: str) -> int:
    return name.count("-")


def _name_from(size: str, preset: Shape, shape: Shape) -> str:
    changed = {name for name, value in shape.to_dict().items() if value != getattr(preset, name)}
    parts = [size]
    if changed >= set(OPERATORS["nl"]) and shape.encoder_layers == shape.decoder_layers:
        parts.append(f"nl{shape.encoder_layers}")
        changed -= set(OPERATORS["nl"])
    for operator, (field, *others) in OPERATORS.items():
        if not others and field in changed:
            parts.append(f"{operator}{getattr(shape, field)}")
    return "-".join(parts)
