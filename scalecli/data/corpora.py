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
from typing import Any

from scalecli.data.docstrings import Docstring, cached_docstrings, docstring_documents
from scalecli.data.sources import display_name, find_files, fingerprint, read_lines
from scalecli.errors import ConfigurationError, MissingError, nearest

__all__ = ["HELD_OUT_EVERY", "Corpus", "Docstring", "dataset_documents", "docstring_documents", "text_documents"]

# Where no validation text is given, the documents 0, 50, 100 ... are for validation and the others for training.
HELD_OUT_EVERY = 50


@dataclass(frozen=True)
class Corpus:
    """The documents of one split of a named source.

    `identity` is a hash of the whole source's content, equal for its splits: the dataset version of a run manifest.
    `split` is "train" or "validation" where every 50th document is held out, "all" where none is, and for TensorFlow
    Datasets a split of theirs. `read` starts the stream anew.
    """

    name: str
    identity: str
    split: str
    read: Callable[[], Iterator[str]]

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
        """Returns one split of a TensorFlow dataset, as `c4/en`, with its text feature (see `dataset_documents`)."""
        builder, size = _dataset(name, split, data_dir)
        described = [str(builder.info.full_name), json.dumps([size.num_examples, list(size.shard_lengths)])]
        return cls(name, _hash(described), split, lambda: dataset_documents(name, split, data_dir))


def text_documents(patterns: Sequence[str | Path]) -> Iterator[str]:
    """Yields the documents of text files: one a line, or the "text" field of each line of a .jsonl file.

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


def dataset_documents(name: str, split: str, data_dir: str | None = None) -> Iterator[str]:
    """Yields the "text" feature of a TensorFlow dataset's examples, in the order on disk, empty ones left out.

    Nothing is downloaded: the prepared dataset is read from `data_dir` (TFDS_DATA_DIR or ~/tensorflow_datasets when
    None). Raises MissingError when the name, the split or the prepared files are not there, ConfigurationError when the
    dataset has no text feature.
    """
    import tensorflow_datasets as tfds

    builder, _ = _dataset(name, split, data_dir)
    in_order = tfds.ReadConfig(interleave_cycle_length=1)
    for example in tfds.as_numpy(builder.as_dataset(split=split, shuffle_files=False, read_config=in_order)):
        if text := example["text"].decode("utf-8").strip():
            yield text


def _dataset(name: str, split: str, data_dir: str | None) -> tuple[Any, Any]:
    """Returns the TFDS builder of a prepared dataset and what it knows of the split."""
    import tensorflow_datasets as tfds

    where = data_dir or "TFDS_DATA_DIR or ~/tensorflow_datasets"
    try:
        builder = tfds.builder(name, data_dir=data_dir, try_gcs=False)
    except tfds.core.DatasetNotFoundError as error:
        hint = nearest(name.split("/")[0], tfds.list_builders(with_community_datasets=False))
        raise MissingError(
            f"dataset {name}: TensorFlow Datasets has none of that name, nor has {where}{hint}"
        ) from error
    except ValueError as error:  # a configuration that the dataset doesn't have
        known_configurations = list(tfds.builder_cls(name.split("/")[0]).builder_configs)
        hint = nearest(name.partition("/")[2], known_configurations)
        raise MissingError(f"dataset {name}: it has {', '.join(known_configurations)}{hint}") from error
    except Exception as error:  # a builder's own code runs here: missing packages, no network
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise MissingError(f"dataset {name}: {reason}") from error
    if not builder.info.splits:
        prepare = f"prepare it with `tfds build {name} --data_dir DIRECTORY` and pass --data-dir DIRECTORY"
        raise MissingError(f"dataset {name}: not found under {builder.data_dir}; {prepare}")
    if "text" not in (builder.info.features or {}):
        known = ", ".join(builder.info.features or {})
        raise ConfigurationError(f"dataset {name}: no feature 'text'; it has {known}")
    try:
        return builder, builder.info.splits[split]
    except (KeyError, ValueError) as error:
        known = ", ".join(builder.info.splits)
        raise MissingError(
            f"dataset {name}: no split {split!r}; it has {known}{nearest(split, builder.info.splits)}"
        ) from error


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
    return location.removesuffix(".gz").endswith(".jsonl")


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
