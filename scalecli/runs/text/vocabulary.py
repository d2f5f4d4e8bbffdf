"""The vocabulary of a run on text: a file's, T5's, or one that is trained on the run's own text."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

from scalecli.data.sources import Remarks
from scalecli.data.text import vocabulary
from scalecli.data.text.corpora import Corpus
from scalecli.data.text.vocabulary import Vocabulary, load_vocabulary
from scalecli.data.text.vocabulary_training import CHARACTERS, train_vocabulary
from scalecli.errors import ConfigurationError
from scalecli.runs.directory import VOCABULARY_FILE
from scalecli.runs.text.source import vocabulary_text
from scalecli.storage.cache import seal, sealed
from scalecli.storage.layout import MANIFEST
from scalecli.training.reporting import Reporter

_TRAINED = "train:"
_FEWEST_PIECES = 10  # three are special, and characters take some
_DOCUMENTS_BETWEEN_REPORTS = 256


def planned_vocabulary(name: str) -> Vocabulary:
    """The pieces and sentinels that a run's vocabulary will have. Raises as `open_vocabulary` does."""
    if name.startswith(_TRAINED):
        return Vocabulary(Path(), "", _trained_pieces(name))
    return vocabulary.planned_vocabulary(name)


def open_vocabulary(
    name: str, corpus: Corpus, directory: Path, cache_directory: Path, reporter: Reporter
) -> Vocabulary:
    """The vocabulary `name` of a run in `directory`. `train:N` trains N pieces once for each text, into the cache.

    A run that goes on keeps its own; manifests are compared afterwards.

    Raises:
        MissingError: the vocabulary can't be had.
        ConfigurationError: N is no number or too small a one, or the vocabulary is not one of T5's kind.
    """
    if not name.startswith(_TRAINED):
        return load_vocabulary(name, cache_directory=cache_directory)
    pieces = _trained_pieces(name)
    own = directory / VOCABULARY_FILE
    # Without a manifest the file is left over from an attempt that failed, maybe on other text.
    if own.is_file() and (directory / MANIFEST).is_file():
        return load_vocabulary(str(own), cache_directory=cache_directory)
    text = vocabulary_text(corpus)
    key = hashlib.sha256(json.dumps([text.identity, text.split, pieces, CHARACTERS]).encode()).hexdigest()
    trained = cache_directory / "vocabularies" / f"trained-{key[:32]}.model"
    if sealed(trained, reporter.message) is None:
        reporter.message(f"training a vocabulary of {pieces:,} pieces on {corpus.name}")
        train_vocabulary(_reported(text, reporter), pieces, trained, reporter.working)
        seal(trained, {})
    return load_vocabulary(str(trained), cache_directory=cache_directory)


def _trained_pieces(name: str) -> int:
    """N of `train:N`."""
    number = name.removeprefix(_TRAINED)
    if not re.fullmatch("[0-9]{1,9}", number) or int(number) < _FEWEST_PIECES:
        accepted = f"train:N takes a number of pieces from {_FEWEST_PIECES} on, such as train:8000"
        raise ConfigurationError(f"vocabulary {name!r}: {accepted}")
    return int(number)


def _reported(text: Corpus, reporter: Reporter) -> Iterator[str]:
    remarks = Remarks()
    for number, document in enumerate(text.documents(remarks), start=1):
        if number % _DOCUMENTS_BETWEEN_REPORTS == 0:
            reporter.working(f"read {number:,} documents for the vocabulary", text.share_read(remarks))
        yield document
