"""`Shape`: the numbers that fix a model's size."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from scalecli.architectures.knobs import KNOBS, Value, check_value
from scalecli.errors import ConfigurationError, errors_at, nearest
from scalecli.specs.base import VOCABULARY_ROWS
from scalecli.specs.vision import CLASSES


@dataclass(frozen=True, init=False)
class Shape:
    """The numbers that fix a model's size.

    `encoder_layers`, `decoder_layers`: blocks of each stack; a model of images has no decoder. `d_model`: width of the
    residual stream. `d_ff`: hidden width of the feed-forward layers. `d_kv`: width of one attention head. `heads`:
    attention heads. `vocabulary`: rows of the embedding, 0 without a decoder. `shared_heads`: one key and value head
    for all queries. `tied_key_values`: keys are the values.

    `knobs` are what the architecture adds, by name. Each is an attribute, too, which is None where the shape does not
    state it: `shape.experts`. They may be given by their names, here as in `dataclasses.replace`.

    Raises:
        ConfigurationError: a number that is not a whole one from 1 to 2^24, or another value that is not accepted.
    """

    encoder_layers: int
    decoder_layers: int
    d_model: int
    d_ff: int
    d_kv: int
    heads: int
    vocabulary: int
    shared_heads: bool
    tied_key_values: bool
    knobs: tuple[tuple[str, Value], ...]

    def __init__(
        self,
        encoder_layers: int,
        decoder_layers: int = 0,
        *,
        d_model: int,
        d_ff: int,
        d_kv: int,
        heads: int,
        vocabulary: int = VOCABULARY_ROWS,
        shared_heads: bool = False,
        tied_key_values: bool = False,
        knobs: Iterable[tuple[str, Value]] = (),
        **named_knobs: Value | None,
    ) -> None:
        given = {**dict(knobs), **named_knobs}
        if unknown := given.keys() - KNOBS.keys():
            raise TypeError(f"no architecture has the knob {min(unknown)}")
        vars(self).update(
            encoder_layers=encoder_layers,
            decoder_layers=decoder_layers,
            d_model=d_model,
            d_ff=d_ff,
            d_kv=d_kv,
            heads=heads,
            vocabulary=vocabulary,
            shared_heads=shared_heads,
            tied_key_values=tied_key_values,
            knobs=tuple((name, given[name]) for name in KNOBS if given.get(name) is not None),
        )
        reads_images = (decoder_layers, vocabulary) == (0, 0)
        for name, values in SHARED_FIELDS.items():
            if not (reads_images and name in _TEXT_FIELDS):
                check_value(name, getattr(self, name), values)
        for name, value in self.knobs:
            check_value(name, value, KNOBS[name].values)

    def __getattr__(self, name: str) -> Any:
        if name in KNOBS:
            return dict(self.knobs).get(name)
        raise AttributeError(f"a Shape has no {name!r}")

    def to_dict(self) -> dict[str, Any]:
        """Every field and knob by name, but sharing that is off, and the text fields of a model that reads images."""
        values = {name: getattr(self, name) for name in SHARED_FIELDS}
        return {**{name: value for name, value in values.items() if value}, **dict(self.knobs)}

    def changed(self, **values: Any) -> Shape:
        """The shape with other values of these fields and knobs.

        Raises:
            ConfigurationError: a value that is not accepted.
        """
        return replace(self, **values)

    def without(self, names: Iterable[str]) -> tuple:
        """Every value but those of some fields and knobs: shapes that differ in these alone have equal ones."""
        left_out = set(names)
        kept = (getattr(self, name) for name in SHARED_FIELDS if name not in left_out)
        return (*kept, *(knob for knob in self.knobs if knob[0] not in left_out))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any], where: str) -> Shape:
        """The shape whose fields `values` names; `where` says in an error which file or manifest they are from.

        Raises:
            ConfigurationError: an unknown key or a missing one, or a value that is not accepted.
        """
        names = [*SHARED_FIELDS, *KNOBS]
        for key in values:
            if key not in names:
                raise ConfigurationError(
                    f"{where}: unknown key {key!r}; a shape has {', '.join(names)}{nearest(str(key), names)}"
                )
        required = (*_REQUIRED, "decoder_layers") if "vocabulary" in values else _REQUIRED
        missing = [name for name in required if name not in values]
        if missing:
            raise ConfigurationError(f"{where}: the shape lacks {', '.join(missing)}")
        with errors_at(where):
            return cls(**values if "decoder_layers" in values else {"vocabulary": 0, "classes": CLASSES, **values})


# What every shape has, and whether that is a number or a switch.
SHARED_FIELDS: dict[str, type[int] | type[bool]] = {
    field.name: bool if field.type == "bool" else int for field in fields(Shape) if field.name != "knobs"
}
_REQUIRED = ("encoder_layers", "d_model", "d_ff", "d_kv", "heads")
_TEXT_FIELDS = ("decoder_layers", "vocabulary")  # 0 in a model of images
