"""The operators on shapes: what each sets, its flag on the command line, and how it stands in a model's name.

The operators are those of "Scale Efficiently", Table 2, and one for each knob that an architecture declares.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from scalecli.architectures.knobs import KNOBS, Values
from scalecli.architectures.registry import ARCHITECTURES

# No field has more than eight digits, and Python refuses to read numbers of thousands of them.
_NUMBER = re.compile(r"([a-z]+)(-?\d{1,12})(k?)")


@dataclass(frozen=True)
class Operator:
    """What an operator sets: fields of a `Shape`, to a number, to true, or to one of some words.

    `option` is its flag on the command line, `help` what that says.
    """

    fields: tuple[str, ...]
    option: str
    help: str
    values: Values = int

    @property
    def parameter(self) -> str:
        """The name of the option's value in Python."""
        return self.option[2:].replace("-", "_")


# NL sets both stacks, where there are two, and SHKV both kinds of sharing.
_SHARED: dict[str, Operator] = {
    "nl": Operator(("encoder_layers", "decoder_layers"), "--nl", "Layers of each stack."),
    "el": Operator(("encoder_layers",), "--el", "Encoder layers."),
    "dl": Operator(("decoder_layers",), "--dl", "Decoder layers."),
    "dm": Operator(("d_model",), "--dm", "d_model, the width of the residual stream."),
    "kv": Operator(("d_kv",), "--kv", "d_kv, the width of one head."),
    "nh": Operator(("heads",), "--nh", "Attention heads."),
    "ff": Operator(("d_ff",), "--ff", "d_ff, the hidden width of the feed-forward layers."),
    "shkv": Operator(("shared_heads", "tied_key_values"), "--shkv", "--sh and --skv.", bool),
    "sh": Operator(("shared_heads",), "--sh", "One key and one value head for all queries.", bool),
    "skv": Operator(("tied_key_values",), "--skv", "One projection for keys and values.", bool),
}


def operators() -> Mapping[str, Operator]:
    """Every operator by its letters: those of all shapes, then those of knobs as architectures declare them."""
    return _operators(tuple(ARCHITECTURES))


@functools.cache
def _operators(architectures: tuple[str, ...]) -> Mapping[str, Operator]:
    known = dict(_SHARED)
    for name, knob in KNOBS.items():
        owners = ", ".join(sorted(owner for owner in architectures if ARCHITECTURES[owner].has(name)))
        known[knob.letters] = Operator((name,), knob.flag, f"{knob.help.removesuffix('.')} ({owners}).", knob.values)
    return MappingProxyType(known)


def operator_forms(code: str) -> tuple[str, ...]:
    """How an operator stands in a name, with N for a number: `nlN`, `sh`, or each word that it can be."""
    values = operators()[code].values
    if isinstance(values, tuple):
        return values
    return (f"{code}N",) if values is int else (code,)


def operator_text(code: str, value: Any) -> str:
    """How an operator with its value stands in a name: `nl24`, `sh`, `basic`."""
    if operators()[code].values is int:
        return f"{code}{value}"
    return code if value is True else str(value)


def read_operator(text: str, released: bool) -> tuple[str, Any] | None:
    """The operator that a lower-case part of a name is, with its value, or None where it is none.

    `k` means x 1024, and so does a round thousand of DM and FF in a released name (dm1000 is a d_model of 1024).
    """
    if (word := _words(tuple(ARCHITECTURES)).get(text)) is not None:
        return word
    match = _NUMBER.fullmatch(text)
    if match is None or match[1] not in operators() or operators()[match[1]].values is not int:
        return None
    code, value = match[1], int(match[2])
    if released and code in ("dm", "ff") and value % 1000 == 0:
        value = value // 1000 * 1024
    return code, value * 1024 if match[3] else value


@functools.cache
def _words(architectures: tuple[str, ...]) -> dict[str, tuple[str, Any]]:
    """The operators without a number, by how they stand in names."""
    return {
        form: (code, True if operator.values is bool else form)
        for code, operator in _operators(architectures).items()
        if operator.values is not int
        for form in operator_forms(code)
    }
