"""Shapes of models: the sizes, the operators on them, and the grammar of their names. Pure Python.

A name is a size and any number of operators joined by hyphens, in any order and case: `small-nl24`, `NL24-SM`,
`t5-efficient-small-nl24`. The architecture may stand before the size: `switch-base`, `vit-s-nl24`. The operators are in
`scalecli.operators`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, fields, replace
from functools import cache
from typing import Any

from scalecli import shapes_directory, strict
from scalecli.errors import ConfigurationError, nearest
from scalecli.operators import OPERATORS, Operator, operator_forms, operator_text, read_operator
from scalecli.specs.base import VOCABULARY_ROWS
from scalecli.specs.vision import CLASSES

SIZE_ALIASES = {"sm": "small", "bs": "base", "lg": "large", "3b": "xl", "11b": "xxl"}
RELEASED_PREFIX = "t5-efficient-"
HUGGING_FACE_PREFIX = f"google/{RELEASED_PREFIX}"
LARGEST = 2**24  # of any one field: beyond every shape of the papers, and small enough for exact sizes in memory

_PART_START = re.compile(r"-(?=[a-z]|\d+b)")  # a minus sign before a value is no start: ff-1 is refused as a whole


@dataclass(frozen=True)
class Shape:
    """The numbers that fix a model's size.

    `encoder_layers`, `decoder_layers`: blocks of each stack; a model of images has no decoder. `d_model`: width of the
    residual stream. `d_ff`: hidden width of the feed-forward layers. `d_kv`: width of one attention head. `heads`:
    attention heads. `vocabulary`: rows of the embedding, 0 without a decoder. `shared_heads`: one key and value head
    for all queries. `tied_key_values`: keys are the values.

    The rest are knobs of one architecture, None where it hasn't got them. switch: `experts` of a layer. universal:
    `recurrence`, steps over the same layers (act makes up to one pass more), and `recurrence_type`. mos: `softmaxes`.
    lconv and dconv: `taps` of a convolution. funnel: `funnel_blocks` of the encoder. albert: `embedding_size`, width
    of the factorised embedding, and `shared_stacks`, whether encoder and decoder share layers. mixer: `positions`, the
    longest input. transformer and glu: `logits`, where they are not as the architecture has them: `tied` to the
    embedding or `untied`. transformer: `shared_stacks`, where they are. vit: `image_size` and `patch_size`, pixels of
    each side, `classes` of the head, and `numerics` where they are not the original's but `transformers`'.

    Raises:
        ConfigurationError: a number that is no whole one between 1 and 2^24, or another value that can't be.
    """

    encoder_layers: int
    decoder_layers: int = 0
    _: KW_ONLY
    d_model: int
    d_ff: int
    d_kv: int
    heads: int
    vocabulary: int = VOCABULARY_ROWS
    shared_heads: bool = False
    tied_key_values: bool = False
    experts: int | None = None
    recurrence: int | None = None
    recurrence_type: str | None = None
    softmaxes: int | None = None
    taps: int | None = None
    funnel_blocks: int | None = None
    embedding_size: int | None = None
    shared_stacks: bool | None = None
    positions: int | None = None
    logits: str | None = None
    image_size: int | None = None
    patch_size: int | None = None
    classes: int | None = None
    numerics: str | None = None

    def __post_init__(self) -> None:
        of_images = (self.decoder_layers, self.vocabulary) == (0, 0)
        for field in fields(self):
            value = getattr(self, field.name)
            if (value is None and field.default is None) or (of_images and field.name in _OF_TEXT):
                continue
            accepted = _FIELD_VALUES[field.name]
            if accepted is int and (type(value) is not int or not 1 <= value <= LARGEST):
                raise ConfigurationError(f"{field.name} is {value!r}; a whole number from 1 to {LARGEST} is accepted")
            if accepted is bool and type(value) is not bool:
                raise ConfigurationError(f"{field.name} is {value!r}; true or false is accepted")
            if isinstance(accepted, tuple) and value not in accepted:
                raise ConfigurationError(f"{field.name} is {value!r}; one of {', '.join(accepted)} is accepted")

    def to_dict(self) -> dict[str, Any]:
        """Every field by name, without the sharing that is off and what an architecture hasn't got."""
        values = {field.name: (getattr(self, field.name), field.default) for field in fields(self)}
        return {
            name: value
            for name, (value, default) in values.items()
            if (value > 0 if name == "vocabulary" else value != default)
        }

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
        required = (*_REQUIRED, "decoder_layers") if "vocabulary" in values else _REQUIRED
        missing = [name for name in required if name not in values]
        if missing:
            raise ConfigurationError(f"{where}: the shape lacks {', '.join(missing)}")
        try:
            return cls(**values if "decoder_layers" in values else {"vocabulary": 0, "classes": CLASSES, **values})
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from None


_FIELD_VALUES: dict[str, Any] = {
    "vocabulary": int,
    **{name: operator.values for operator in OPERATORS.values() for name in operator.fields},
}
_REQUIRED = ("encoder_layers", "d_model", "d_ff", "d_kv", "heads")
_OF_TEXT = ("decoder_layers", "vocabulary")  # 0 in a model of images
KNOBS = tuple(field.name for field in fields(Shape) if field.default is None)
_ABSENT = {"decoder_layers": 0, **dict.fromkeys(KNOBS)}  # what not every architecture has, and what it is then
# Knobs that are left out where an architecture is as its papers have it: what that is.
OWN_FORMS: dict[str, dict[str, Any]] = {
    "transformer": {"shared_stacks": False, "logits": "tied"},
    "glu": {"logits": "untied"},
    "vit": {"numerics": "original"},
}


def knobs(architecture: str) -> tuple[str, ...]:
    """The knobs that an architecture adds to a shape: those that its sizes state, and those that may be left out.

    Raises:
        ConfigurationError: no architecture has that name.
    """
    return tuple(name for name in _own_fields(architecture) if name in KNOBS)


def _own_fields(architecture: str) -> tuple[str, ...]:
    """Of what not every architecture has, that which this one has."""
    first = next(iter(presets(architecture).values()))
    optional = OWN_FORMS.get(architecture, {})
    return tuple(name for name, absent in _ABSENT.items() if getattr(first, name) != absent or name in optional)


def check_knobs(shape: Shape, architecture: str) -> None:
    """Checks that a shape has the knobs of its architecture, and no others; and a decoder if that has one.

    Raises:
        ConfigurationError: a knob too many or missing.
    """
    known, optional = _own_fields(architecture), OWN_FORMS.get(architecture, {})
    for name, absent in _ABSENT.items():
        value = getattr(shape, name)
        if value == absent:
            if name in known and name not in optional:
                raise ConfigurationError(f"the shape lacks {name}, which {architecture} has")
        elif name not in known:
            raise _no_knob(name, architecture)
        elif value == optional.get(name):
            raise ConfigurationError(f"{name} is {value}, as {architecture} has it; leave it out")


def _no_knob(name: str, architecture: str) -> ConfigurationError:
    owners = [each for each in architectures_with_sizes() if name in _own_fields(each)]
    of = " and ".join(owners) if len(owners) <= 3 else f"{len(owners)} other architectures"
    return ConfigurationError(f"{architecture} has no {name}, a knob of {of}")


def _fields(operator: Operator, architecture: str) -> tuple[str, ...]:
    """The fields that an operator sets in shapes of an architecture; none of a knob that it hasn't got."""
    known = _own_fields(architecture)
    return tuple(name for name in operator.fields if name not in _ABSENT or name in known)


def name_parts(architecture: str) -> list[str]:
    """How the operators that an architecture knows stand in names, such as `nlN` and `sh`.

    Raises:
        ConfigurationError: no architecture has that name.
    """
    return [
        form for code, operator in OPERATORS.items() if _fields(operator, architecture) for form in operator_forms(code)
    ]


def apply_operators(shape: Shape, operators: Mapping[str, Any], architecture: str = "transformer") -> Shape:
    """The shape with operators applied, NL before EL and DL, so that `nl` sets what `el` and `dl` leave alone.

    Raises:
        ConfigurationError: a value that can't be, named by its operator, or a knob that the architecture hasn't got.
    """
    for code, operator in OPERATORS.items():
        if code in operators:
            try:
                names = _fields(operator, architecture)
                if not names:
                    raise _no_knob(operator.fields[0], architecture)
                shape = replace(shape, **dict.fromkeys(names, operators[code]))
                check_knobs(shape, architecture)
            except ConfigurationError as error:
                raise ConfigurationError(f"{code.upper()}: {error}") from None
    return shape


def architectures_with_sizes() -> list[str]:
    """The names of the architectures that have a file of sizes."""
    return sorted(path.stem for path in shapes_directory().glob("*.yaml"))


@cache
def presets(architecture: str = "transformer") -> dict[str, Shape]:
    """The sizes of one architecture by name, smallest first, from shapes/ARCHITECTURE.yaml.

    Raises:
        ConfigurationError: no architecture has that name.
    """
    names = architectures_with_sizes()
    if architecture not in names:
        raise ConfigurationError(
            f"no architecture {architecture!r}; there are {', '.join(names)}{nearest(architecture, names)}"
        )
    path = shapes_directory() / f"{architecture}.yaml"
    sizes = strict.load_yaml(path)
    return {name: Shape.from_dict(values, f"{path.name}: {name}") for name, values in sizes.items()}


def architecture_in(name: str) -> str | None:
    """The architecture that stands in a name, as in `vit-s-nl24`, or None."""
    known = architectures_with_sizes()
    return next((part for part in _PART_START.split(name.lower()) if part in known), None)


def parse_name(name: str, architecture: str = "transformer") -> Shape:
    """The shape that a name such as `small-nl24`, `NL24-SM` or `t5-efficient-base-dm2000` stands for.

    `k` means x 1024 (`ff12k`), as does a round thousand of DM or FF in a released name (`t5-efficient-base-ff12000`).
    The architecture's own name may stand before the size's.

    Raises:
        ConfigurationError: an unknown size or operator, an operator twice, or a value that can't be.
    """
    text = name.lower()
    if text.startswith(HUGGING_FACE_PREFIX):
        text = text.removeprefix("google/")
    released = text.startswith(RELEASED_PREFIX)
    own = f"{architecture}-"
    sizes = {size.removeprefix(own): size for size in presets(architecture)}
    size: str | None = None
    operators: dict[str, Any] = {}
    for part in _PART_START.split(f"-{text.removeprefix(RELEASED_PREFIX)}".replace(f"-{own}", "-", 1)[1:]):
        operator = read_operator(part, released)
        if operator is not None:
            code, value = operator
            if code in operators:
                raise ConfigurationError(f"{name!r} has the operator {code.upper()} twice")
            operators[code] = value
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
    try:
        return apply_operators(presets(architecture)[size], operators, architecture)
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
    """The canonical name: the size that needs the fewest operators, then the operators in the order of `OPERATORS`.

    The vocabulary is not part of a name. No preset has any sharing on, so operators reach every shape.

    Raises:
        ConfigurationError: the shape has not the knobs of the architecture.
    """
    check_knobs(shape, architecture)
    names = [_name_from(size, preset, shape, architecture) for size, preset in presets(architecture).items()]
    return min(names, key=lambda name: name.count("-"))


def _name_from(size: str, preset: Shape, shape: Shape, architecture: str) -> str:
    """The shape's name as a change of a preset."""
    names = [field.name for field in fields(Shape) if field.name != "vocabulary"]
    changed = {name for name in names if getattr(shape, name) != getattr(preset, name)}
    parts = [size]
    for code, operator in OPERATORS.items():
        own = _fields(operator, architecture)
        values = {getattr(shape, name) for name in own}
        if changed >= set(own) and len(values) == 1:
            parts.append(operator_text(code, values.pop()))
            changed -= set(own)
    return "-".join(parts)
