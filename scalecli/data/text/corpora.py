"""Corpora: where the documents of pretraining come from, as plain Python iterators with an identity.

Three sources: text files, TensorFlow Datasets by name, and the embedded default, which needs no network: the English of
the docstrings in the Python installation that runs this.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from scalecli.data.datasets import DatasetSplit, open_split
from scalecli.data.sources import display_name, find_files, fingerprint, read_lines
from scalecli.data.text.docstrings import Docstring, cached_docstrings, docstring_documents
from scalecli.errors import ConfigurationError, MissingError

__all__ = ["HELD_OUT_EVERY", "Corpus", "Docstring", "docstring_documents", "open_text", "text_documents"]

# Where no validation text is given, the documents 0, 50, 100 ... are for validation and the others for training.
HELD_OUT_EVERY = 50


@dataclass(frozen=True)
class Corpus:
    """The documents of one split of a named source.

    `identity` is a hash of the whole source's content, equal for its splits: the dataset version of a run manifest.
    `split` is "train" or "validation" where every 50th document is held out, "all" where none is, and for TensorFlow
    Datasets a split of theirs, which `dataset` is. `read` starts the stream anew.
    """

    name: str
    identity: str
    split: str
    read: Callable[[], Iterator[str]]
    dataset: DatasetSplit | None = None

    def documents(self) -> Iterator[str]:
        """Yields the documents from the first. Raises MissingError, as the source's reader does, or when none comes."""
        empty = True
        for document in self.read():
            empty = False
            yield document
        if empty:
            held_out = (
                f"; documents 1, {HELD_OUT_EVERY + 1} ... are the validation split" if self.split == "train" else ""
            )
            raise MissingError(f"{self.name}: no documents in the split {self.split!r}{held_out}")

    def first(self, documents: int) -> Corpus:
        """Returns the corpus of the first documents of this one."""
        split = f"{self.split}, first {documents}"
        return Corpus(self.name, self.identity, split, lambda: itertools.islice(self.read(), documents))

    @classmethod
    def from_text(cls, patterns: Sequence[str | Path], split: str = "train") -> Corpus:
        """Returns the corpus of text files; `split` is "train", "validation" or "all" (see `text_documents`)."""
        _check_split(split)
        locations = find_files(patterns)
        contents = [[_is_jsonl(location), fingerprint(location)] for location in locations]
        name = " ".join(display_name(str(pattern)) for pattern in patterns)
        return cls(name, _hash(map(json.dumps, contents)), split, lambda: _hold_out(text_documents(patterns), split))

    @classmethod
    def embedded(cls, cache_directory: Path, split: str = "train") -> Corpus:
        """Returns the corpus of this Python installation's docstrings, harvested once into the cache."""
        _check_split(split)
        texts = [docstring.text for docstring in cached_docstrings(cache_directory)]
        return cls("embedded", _hash(texts), split, lambda: _hold_out(texts, split))

    @classmethod
    def from_dataset(cls, name: str, split: str = "train", data_dir: str | None = None) -> Corpus:
        """Returns one split of a TensorFlow dataset, as `c4/en`, with its text feature; empty texts are left out.

        Nothing is downloaded: the dataset is prepared in `data_dir` (see `datasets.open_split`, whose errors it
        raises). Raises ConfigurationError when the dataset has no text feature.
        """
        found = open_text(name, split, data_dir)
        described = [found.identity, json.dumps([length for _, _, length in found.shards()])]
        documents = lambda: filter(None, (row["text"].strip() for row in found.rows()))  # noqa: E731
        return cls(found.identity, _hash(described), split, documents, found)


def text_documents(patterns: Sequence[str | Path]) -> Iterator[str]:
    """Yields the documents of text files: one a line, or the "text" field of each line of a .jsonl or .json file.

    `patterns` are paths, globs and URLs that fsspec knows; a name that ends in .gz is unpacked. Empty documents are
    left out. Raises MissingError for no file, no text at all, what isn't UTF-8 and lines without a text (with
    file:line).
    """
    locations = find_files(patterns)
    empty = True
    for location in locations:
        for number, line in read_lines(location):
            if not line.strip():
                continue
            text = _jsonl_text(line, f"{display_name(location)}:{number}") if _is_jsonl(location) else line.strip()
            if text:
                empty = False
                yield text
    if empty:
        raise MissingError(f"{', '.join(map(display_name, locations))}: no text")


def open_text(name: str, split: str, data_dir: str | None) -> DatasetSplit:
    """Returns a split of a TensorFlow dataset that has texts. Raises as `Corpus.from_dataset` does."""
    found = open_split(name, split, data_dir)
    if "text" not in found.builder.info.features:
        known = ", ".join(found.builder.info.features)
        raise ConfigurationError(f"dataset {name}: no feature 'text'; it has {known}")
    return found


def _jsonl_text(line: str, place: str) -> str:
    """Returns the text of one line of a .jsonl file."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise MissingError(f"{place}: not JSON ({error})") from error
    if not isinstance(record, dict) or not isinstance(record.get("text"), str):
        found = f"; it has {', '.join(map(repr, record))}" if isinstance(record, dict) and record else ""
        raise MissingError(f"{place}: no field 'text' with a string{found}")
    return record["text"].strip()


def _is_jsonl(location: str) -> bool:
    return location.removesuffix(".gz").endswith((".jsonl", ".json"))


def _check_split(split: str) -> None:
    if split not in ("train", "validation", "all"):
        raise ConfigurationError(f"split {split!r}: choose train, validation or all")


def _hold_out(documents: Iterable[str], split: str) -> Iterator[str]:
    """Yields the documents of a split: each 50th, from the first on, is for validation."""
    if split == "all":
        return iter(documents)
    wanted = split == "validation"
    return itertools.compress(documents, ((n % HELD_OUT_EVERY == 0) == wanted for n in itertools.count()))


def _hash(parts: Iterable[str]) -> str:
    """Returns the sha256 of strings, none of which can run into the next."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
