"""What a reader of another library's checkpoint gives: a model of ours, and where it is from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalecli.architectures import build_spec
from scalecli.errors import MissingError, errors_at
from scalecli.interchange.weight_map import Location, gather, stored_precision
from scalecli.shape import Shape
from scalecli.storage.files import hash_stream

# What a SentencePiece model beside a checkpoint may be called.
VOCABULARIES = ("spiece.model", "sentencepiece.model")


@dataclass(frozen=True)
class SourceFile:
    """One file that was read: its name in the folder, its size, and its SHA-256 (hexadecimal)."""

    name: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, folder: Path, name: str) -> SourceFile:
        """Hashes a file of `folder`. Raises MissingError when it can't be read."""
        digest = hashlib.sha256()
        try:
            with (folder / name).open("rb") as stream:
                size = hash_stream(digest, stream)
        except OSError as error:
            raise MissingError(f"{folder / name}: cannot be read ({error.strerror})") from error
        return cls(name, size, digest.hexdigest())


@dataclass(frozen=True)
class Imported:
    """A model that was read.

    `format` is `mesh-tensorflow`, `hugging-face`, `keras-hub` or `t5x`. `weights` are float32 by the paths of
    `ModelSpec.weights()`, layers stacked on a leading axis. `optimizer` is Adafactor's state as
    `Adafactor.state_by_path` names it, None where it was not asked for. `precision` is the dtype of the weights in the
    files, `files` all that was read, `vocabulary` a SentencePiece model that lay beside them. `notes` say what a reader
    should know, such as that encoder and decoder share their parameters.
    """

    format: str
    architecture: str
    shape: Shape
    weights: dict[str, np.ndarray]
    precision: str
    files: tuple[SourceFile, ...]
    optimizer: dict[str, np.ndarray] | None = None
    step: int = 0
    vocabulary: Path | None = None
    notes: tuple[str, ...] = ()


def from_arrays(
    format: str,
    architecture: str,
    shape: Shape,
    locations: Callable[[Any], Mapping[str, Location]],
    arrays: Mapping[str, np.ndarray],
    source: Path,
    files: Iterable[Path],
    **more: Any,
) -> Imported:
    """The model whose arrays, by the names that `locations` has of a spec, were read from `files` of `source`.

    `source` is the folder, or the one file. `more` are other fields.

    Raises:
        MissingError: an array is not there.
        ConfigurationError: the architecture does not have such a shape, or the arrays are not those of the model.
    """
    if max(shape.encoder_layers, shape.decoder_layers) > len(arrays):  # before anything is made for each layer
        raise MissingError(f"{source}: has fewer weights than its configuration has layers")
    with errors_at(source):
        spec = build_spec(architecture, shape)
    folder = source if source.is_dir() else source.parent
    return Imported(
        format=format,
        architecture=architecture,
        shape=shape,
        weights=gather(spec, locations(spec), arrays, str(source)),
        precision=stored_precision(arrays),
        files=tuple(SourceFile.of(folder, file.relative_to(folder).as_posix()) for file in files),
        **more,
    )


def chosen_step(steps: Iterable[int], step: int | None, where: str) -> int:
    """The step that was asked for, else the newest. Raises MissingError when `where` has no checkpoint of it."""
    if step is None:
        return max(steps)
    if step not in steps:
        raise MissingError(f"{where} has no checkpoint of step {step}; there are {', '.join(map(str, sorted(steps)))}")
    return step


def logits_field(architecture: str, tied: bool) -> str | None:
    """`Shape.logits` of a transformer or glu: None where it is as the architecture has it, else `tied` or `untied`."""
    return None if tied == (architecture == "transformer") else "tied" if tied else "untied"
