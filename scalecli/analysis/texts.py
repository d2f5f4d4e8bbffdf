"""Which text an upstream figure was measured on: losses per token compare on one text with one vocabulary only."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # comparisons of published models alone do without
    from scalecli.manifest import Data

# What both papers measured on (section 3 of each), and what runs of ours call it.
_PAPERS_TEXT = "C4 (English)"
_PAPERS_PIECES = 32_000
_C4 = re.compile(r"c4/en([:/].*)?")


def text_name(data: Data | None) -> str:
    """The text and the vocabulary of a run's data, None for the papers': equal names are of equal content.

    What is prepared as C4, in whatever version, with as many pieces is what the papers had.
    """
    if data is None:
        return f"{_PAPERS_TEXT}, {_PAPERS_PIECES:,} pieces"
    vocabulary = data.vocabulary
    if data.kind == "tfds" and _C4.fullmatch(data.name):
        return f"{_PAPERS_TEXT}, {vocabulary.pieces:,} pieces"
    name = data.name
    if data.kind == "text":  # which folders the files lie in says nothing
        name = " ".join(file.rpartition("/")[2] for file in name.split(" "))
    identity = data.identity.removeprefix("sha256:")
    return f"{name} ({identity[:8]}), {vocabulary.pieces:,} pieces ({vocabulary.sha256[:8]})"
