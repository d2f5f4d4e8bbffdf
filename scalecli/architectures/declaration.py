"""`Architecture`: everything that one architecture says about itself."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from scalecli.architectures.knobs import KNOBS, Knob
from scalecli.architectures.shape import Shape
from scalecli.specs import ModelSpec


def no_warnings(shape: Shape) -> Iterable[str]:
    """What most architectures warn about."""
    return ()


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A function from a shape to a tree of layer specs, and all that is to be known about it.

    `name`: what `--arch`, manifests and names of models call it; lower-case letters, digits and underscores.
    `build` is the function; the shape that it gets has every knob, those that are left out in their default form.
    `sizes`: a YAML file of shapes by name, smallest first, or such a mapping; None for T5's.
    `reads`: text or images.
    `warnings` gives a sentence for each thing that is wasteful in a shape, or makes another architecture of this one.
    `paper_note`: what the papers' figures of it are not of.
    `layers_per_block`: layers of the Transformer that one of its blocks stands for.
    """

    name: str
    build: Callable[[Shape], ModelSpec]
    knobs: tuple[Knob, ...] = ()
    sizes: Path | Mapping[str, Mapping[str, Any]] | None = None
    reads: Literal["text", "images"] = "text"
    warnings: Callable[[Shape], Iterable[str]] = no_warnings
    paper_note: str | None = None
    layers_per_block: int = 1

    @property
    def defaults(self) -> dict[str, Any]:
        """The knobs that may be left out, and what they are then."""
        return {knob.name: knob.default for knob in self.knobs if knob.default is not None}

    def has(self, field: str) -> bool:
        """Whether a field or a knob means anything to it."""
        if field == "decoder_layers":
            return self.reads == "text"
        return field not in KNOBS or any(knob.name == field for knob in self.knobs)

    def complete(self, shape: Shape) -> Shape:
        """The shape with every knob, those that it leaves out in their default form."""
        missing = {name: value for name, value in self.defaults.items() if getattr(shape, name) is None}
        return shape.changed(**missing)
