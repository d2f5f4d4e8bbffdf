"""What a reader of another library's checkpoint gives: a model of ours, and where it is from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scalecli.errors import MissingError
from scalecli.shape import Shape
from scalecli.storage.files import hash_stream

if TYPE_CHECKING:
    import numpy as np


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


def logits_field(architecture: str, tied: bool) -> str | None:
    """`Shape.logits` of a transformer or glu: None where it is as the architecture has it, else `tied` or `untied`."""
    return None if tied == (architecture == "transformer") else "tied" if tied else "untied"
