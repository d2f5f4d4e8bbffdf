"""What figures were measured on, and so compare on: a text with one vocabulary, images with as many of each class."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # comparisons of published models alone do without
    from scalecli.manifest import Data, Manifest

# What both papers measured on (section 3 of each), and what runs of ours call it.
_PAPERS_TEXT = "C4 (English)"
_PAPERS_PIECES = 32_000
_C4 = re.compile(r"c4/en([:/].*)?")
# What Table 5 of "Scale Efficiently" has; TFDS's labels of its test split are not known.
_PAPERS_IMAGES, _PAPERS_SHOTS = "ImageNet", 10
_IMAGENET = re.compile(r"imagenet2012/[\d.]+ validation")


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


def few_shot_name(manifest: Manifest | None) -> str:
    """The images and the shots of a few-shot evaluation, None for the paper's: equal names are of equal content."""
    if manifest is None:
        return f"{_PAPERS_IMAGES}, {_PAPERS_SHOTS} a class"
    import hashlib

    data, shots = manifest.data, (manifest.objective or {}).get("shots")
    name = f"{'/'.join(data.name.split('/')[-2:])} ({hashlib.sha256(data.identity.encode()).hexdigest()[:8]})"
    if data.kind == "image-dataset":
        name = _PAPERS_IMAGES if _IMAGENET.fullmatch(data.name) else data.name
    return f"{name}, {shots} a class"
