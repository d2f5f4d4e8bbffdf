"""Corpora: where the documents of pretraining come from, as plain Python iterators with an identity.

Three sources: files, TensorFlow Datasets by name, and the embedded default, which needs no network: the English of the
docstrings in the Python installation that runs this. Files are plain text, a document a line, or records with a text
field; their content says which (see `records`).
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from scalecli.data.datasets import DatasetSplit, open_split
from scalecli.data.records import NO_TEXT, TEXT, Kind, kind_of, read_rows, text_of
from scalecli.data.sources import Remarks, display_name, find_files, fingerprint, read_lines, size_of
from scalecli.data.text.docstrings import cached_docstrings
from scalecli.data.text.parquet_shards import ParquetShards
from scalecli.errors import ConfigurationError, MissingError
from scalecli.storage.cache import Say

# Where no validation text is given, the documents 0, 50, 100 ... are for validation and the others for training.
HELD_OUT_EVERY = 50


@dataclass(frozen=True)
class Corpus:
    """The documents of one split of a named source.

    `identity` is a hash of the whole source's content, equal for its splits: the dataset version of a run manifest.
    `split` is "train" or "validation" where every 50th document is held out, "all" where none is, and for TensorFlow
    Datasets a split of theirs. `read` starts the stream anew; remarks say what is left out or replaced, and an
    empty text stands for a row that gives no document. `shards` are those of a TensorFlow dataset or of Parquet files.
    `rows` is how many texts `read` yields; of other files, where only reading says that, `bytes` is their size.
    """

    name: str
    identity: str
    split: str
    read: Callable[[Remarks], Iterator[str]]
    shards: DatasetSplit | ParquetShards | None = None
    rows: int = 0
    bytes: int = 0

    def documents(self, remarks: Remarks | None = None) -> Iterator[str]:
        """Yields the documents from the first. Raises MissingError, as the source's reader does, or when none comes."""
        remarks, empty = remarks or Remarks(), True
        for document in self.read(remarks):
            remarks.rows += 1
            if document:
                empty = False
                yield document
        if empty:
            every = f"; documents 1, {HELD_OUT_EVERY + 1} ... are the validation split"
            held_out = every if self.split == "train" else ""
            raise MissingError(f"{self.name}: no documents in the split {self.split!r}{held_out}")

    def share_read(self, remarks: Remarks) -> float | None:
        """The share of the source that has been read with these remarks, where that can be known."""
        read, size = (remarks.rows, self.rows) if self.rows else (remarks.bytes_read, self.bytes)
        return min(read / size, 1.0) if size else None

    def first(self, documents: int) -> Corpus:
        """The corpus of the first documents of this one; of Parquet files, of the first rows."""
        return Corpus(
            self.name,
            self.identity,
            f"{self.split}, first {documents}",
            lambda remarks: itertools.islice(self.read(remarks), documents),
            rows=min(documents, self.rows or documents),
        )

    @classmethod
    def from_text(cls, patterns: Sequence[str | Path], split: str = "train", field: str | None = None) -> Corpus:
        """The corpus of files; `split` is "train", "validation" or "all" (see `text_documents`).

        Of Parquet files alone every 50th row is held out, of others every 50th document.
        """
        _check_split(split)
        locations = find_files(patterns)
        kinds = [kind_of(location) for location in locations]
        contents = [
            [_KINDS.get(kind, kind), fingerprint(location)] for kind, location in zip(kinds, locations, strict=True)
        ]
        identity = _hash(map(json.dumps, [*contents, *([] if field in (None, TEXT) else [field])]))
        name = " ".join(display_name(str(pattern)) for pattern in patterns)
        if {*kinds} == {"parquet"}:
            shards = ParquetShards.open(locations, field or TEXT, *_PARTS[split])
            return cls(name, identity, split, shards.documents, shards, rows=shards.examples)

        def documents(remarks: Remarks) -> Iterator[str]:
            return _hold_out(text_documents(locations, field, remarks), split)

        return cls(name, identity, split, documents, bytes=sum(map(size_of, locations)))

    @classmethod
    def embedded(cls, cache_directory: Path, split: str = "train", say: Say = lambda message: None) -> Corpus:
        """The corpus of this Python installation's docstrings, harvested once into the cache."""
        _check_split(split)
        texts = [docstring.text for docstring in cached_docstrings(cache_directory, say)]
        chosen = list(_hold_out(texts, split))
        return cls("embedded", _hash(texts), split, lambda remarks: iter(chosen), rows=len(chosen))

    @classmethod
    def from_dataset(
        cls, name: str, split: str = "train", data_dir: str | None = None, field: str | None = None
    ) -> Corpus:
        """One split of a TensorFlow dataset, as `c4/en`, with its text feature; empty texts are left out.

        Nothing is downloaded: the dataset is prepared in `data_dir` (see `datasets.open_split`, whose errors it
        raises). Raises ConfigurationError when the dataset has no text feature.
        """
        dataset = open_text(name, split, data_dir, field)
        feature = dataset.text
        described = [dataset.identity, json.dumps([length for _, _, length in dataset.shards()])]

        def documents(remarks: Remarks) -> Iterator[str]:
            for number, row in enumerate(dataset.rows()):
                text = row[feature].strip()
                if not text:
                    remarks.add(NO_TEXT, f"{dataset.identity}, {split}, example {number}")
                yield text

        identity = _hash([*described, *([] if feature == TEXT else [feature])])
        return cls(dataset.identity, identity, split, documents, dataset, rows=dataset.examples)


# As identities have called the kinds of text files since before there were more of them.
_KINDS: dict[Kind, bool] = {"text": False, "json": True}
# By split: which rows of Parquet files it has, as the remainders of their numbers.
_PARTS = {"all": (None, False), "train": (HELD_OUT_EVERY, False), "validation": (HELD_OUT_EVERY, True)}


def text_documents(
    patterns: Sequence[str | Path], field: str | None = None, remarks: Remarks | None = None
) -> Iterator[str]:
    """Yields the documents of files: a line of plain text each, or the text field of each record.

    `patterns` are paths, globs and URLs that fsspec knows; files may be packed. Empty documents are left out, and
    `remarks` count those of them that are records. Raises MissingError for no file, no text at all, what isn't UTF-8
    and records without a text, ConfigurationError for a field that isn't there; both with file:line.
    """
    remarks = Remarks() if remarks is None else remarks
    locations = find_files(patterns)
    empty = True
    for location in locations:
        for text in _documents(location, field, remarks):
            empty = False
            yield text
    if empty:
        left_out = f" ({'; '.join(remarks.lines())})" if remarks.counts else ""
        raise MissingError(f"{', '.join(map(display_name, locations))}: no text{left_out}")


def _documents(location: str, field: str | None, remarks: Remarks) -> Iterator[str]:
    kind = kind_of(location)
    if kind == "text":
        if field is not None:
            raise ConfigurationError(f"{display_name(location)}: plain text, which has no field {field!r}")
        yield from (text for _, line in read_lines(location, remarks) if (text := line.strip()))
        return
    name = field or TEXT
    for where, row in read_rows(location, kind, (), remarks=remarks):
        if text := text_of(row, name, where):
            yield text
        else:
            remarks.add(NO_TEXT, where)


def open_text(name: str, split: str, data_dir: str | None, field: str | None = None) -> DatasetSplit:
    """A split of a TensorFlow dataset that has texts. Raises as `Corpus.from_dataset` does."""
    dataset = open_split(name, split, data_dir)
    feature = field or TEXT
    if feature not in dataset.builder.info.features:
        known = ", ".join(dataset.builder.info.features)
        raise ConfigurationError(f"dataset {name}: no feature {feature!r}; it has {known}; --text-field names one")
    return replace(dataset, text=feature)


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
    """The sha256 of strings, none of which can run into the next."""
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode("utf-8", "surrogatepass")
        digest.update(len(encoded).to_bytes(8, "little") + encoded)
    return digest.hexdigest()
