"""Training a SentencePiece vocabulary on documents."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path

from scalecli.data.sources import OnWork, silent
from scalecli.data.text.pieces import EOS, PAD, UNKNOWN
from scalecli.data.text.trainer import train
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.errors import ConfigurationError, MissingError, reason_of
from scalecli.storage.files import write_atomically

# What of a text's characters become pieces, for the names of vocabularies in the cache.
CHARACTERS = "all if they are at most half of the pieces, else the most frequent"
NORMALIZATION = "nmt_nfkc"  # T5's: NFKC, and white space as in neural machine translation
_TRAINING_BYTES = 20_000_000
# SentencePiece drops sentences of more than 4,192 bytes, and 1,000 characters are at most 4,000.
_CHUNK_CHARACTERS = 1_000
_LEAST_COVERAGE = 0.9995  # SentencePiece's default


def train_vocabulary(documents: Iterable[str], pieces: int, path: Path, on_work: OnWork = silent) -> Vocabulary:
    """Trains a SentencePiece unigram model of `pieces` pieces on documents and writes it to `path`.

    Text is normalized as T5's (NFKC with nmt's white space). Every character becomes a piece where they take at most
    half of the pieces; else the most frequent ones do. At most 20 MB of the documents are used, spread evenly, so the
    time is bounded; the same documents give the same model. Raises MissingError when there is no text, and
    ConfigurationError, which names a number that works, when the documents can't give that many pieces.
    """
    if pieces < 1:
        raise ConfigurationError(f"vocabulary: {pieces} pieces; it takes a positive number")
    sample = _even_sample(documents)
    if not sample:
        raise MissingError(f"{path}: no text to train a vocabulary on")
    options = {
        "model_type": "unigram",
        "pad_id": PAD,
        "eos_id": EOS,
        "unk_id": UNKNOWN,
        "bos_id": -1,
        "normalization_rule_name": NORMALIZATION,
        "character_coverage": _coverage(sample, pieces // 2),
        "num_threads": 2,  # sums over threads depend on their number, and the model must not depend on the machine
    }
    try:
        model = train(sample, pieces, options, on_work)
    except RuntimeError as error:
        raise ConfigurationError(_explain(error, pieces)) from error
    write_atomically(path, model)
    return Vocabulary(path, hashlib.sha256(model).hexdigest(), pieces)


def _coverage(sample: Sequence[str], most: int) -> float:
    """The share of a text's characters to cover: all of them, or what its `most` frequent characters make up.

    It is at least SentencePiece's default.
    """
    import sentencepiece

    normalizer = sentencepiece.SentencePieceNormalizer(rule_name=NORMALIZATION)
    counts = Counter(character for text in sample for character in normalizer.Normalize(text))
    if len(counts) <= most:
        return 1.0
    covered = list(accumulate(sorted(counts.values(), reverse=True)))
    return max(_LEAST_COVERAGE, covered[max(most, 1) - 1] / covered[-1])


def _explain(error: Exception, pieces: int) -> str:
    message = str(error)
    if most := re.search(r"value <= (\d+)", message):
        return f"vocabulary: this text is too small for {pieces} pieces; the most that it gives is {most[1]}"
    if least := re.search(r"required_chars\D*\d+ vs (\d+)", message):
        return f"vocabulary: {pieces} pieces are too few for the characters of this text; it takes at least {least[1]}"
    return f"vocabulary: {pieces} pieces can't be trained: {reason_of(error)}"


def _even_sample(documents: Iterable[str]) -> list[str]:
    """Chunks of the documents, every one or every second, fourth ... so that they fit into the limit."""
    sample: list[str] = []
    stride, kept_bytes = 1, 0
    for index, chunk in enumerate(chunk for document in documents for chunk in _chunks(document)):
        if index % stride:
            continue
        sample.append(chunk)
        kept_bytes += len(chunk.encode())
        if kept_bytes > _TRAINING_BYTES:
            sample, stride = sample[::2], stride * 2
            kept_bytes = sum(len(kept.encode()) for kept in sample)
    return sample


def _chunks(document: str) -> Iterator[str]:
    """Yields a document in pieces that SentencePiece takes as sentences, cut at spaces where there are any."""
    start = 0
    while start < len(document):
        end = start + _CHUNK_CHARACTERS
        if end < len(document):
            end = space if (space := document.rfind(" ", start + 1, end)) > 0 else end
        yield document[start:end]
        start = end
