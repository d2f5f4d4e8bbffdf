"""Vocabularies: SentencePiece unigram models and the 100 sentinels that T5 puts after their pieces (T5 paper, 2.2).

Ids 0, 1 and 2 are padding, end of sequence and unknown; the sentinels are the last 100 ids, counted down: sentinel 0 of
an example is the last id. The embedding table has a multiple of 128 rows, so that it divides among devices.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import os
import re
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from scalecli.data.sources import display_name
from scalecli.errors import ConfigurationError, MissingError, reason_of
from scalecli.storage.files import read_bytes, write_atomically

PAD, EOS, UNKNOWN = 0, 1, 2
SENTINELS = 100

# The public face of gs://t5-data/vocabs/cc_all.32000/sentencepiece.model: plain HTTPS fails at once without a network.
T5_URL = "https://storage.googleapis.com/t5-data/vocabs/cc_all.32000/sentencepiece.model"
T5_SHA256 = "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
T5_PIECES = 32_000

_MODEL_BYTES_LIMIT = 64 << 20  # the largest published models, of 250,000 pieces, have 5 MB
_TRAINING_BYTES = 20_000_000
_CHUNK_CHARACTERS = (
    1_000  # SentencePiece drops sentences of more than 4,192 bytes, and 1,000 characters are at most 4,000
)


@dataclass(frozen=True)
class Vocabulary:
    """A SentencePiece model on disk, the sha256 of the file and the number of its pieces, sentinels not counted."""

    path: Path
    sha256: str
    pieces: int

    @property
    def size(self) -> int:
        """Returns the number of ids: pieces and sentinels. Sentinel k of an example is id size - 1 - k."""
        return self.pieces + SENTINELS

    @property
    def rows(self) -> int:
        """Returns the rows of the embedding table: `size` padded up to a multiple of 128."""
        return -(-self.size // 128) * 128

    def encode(self, text: str) -> list[int]:
        """Returns the ids of a text, without an end of sequence."""
        return self._processor.encode(text)

    def decode(self, ids: Iterable[int]) -> str:
        """Returns the text of ids up to the first end of sequence, without padding.

        Sentinels are written <extra_id_k>; ids beyond the vocabulary, which an embedding table with padded rows can
        predict, count as unknown.
        """
        kept: list[int] = []
        for token in map(int, ids):
            if token == EOS:
                break
            if token != PAD:
                kept.append(token if 0 <= token < self.size else UNKNOWN)
        parts = []
        for is_sentinel, run in groupby(kept, key=lambda token: token >= self.pieces):
            if is_sentinel:
                parts += [f"<extra_id_{self.size - 1 - token}>" for token in run]
            else:
                parts.append(self._processor.decode(list(run)))
        return " ".join(parts)

    def piece(self, token: int) -> str:
        """Returns how an id is written: the piece, with ▁ for a space, </s>, <pad>, <unk>, or <extra_id_k>."""
        if token >= self.pieces:
            return f"<extra_id_{self.size - 1 - token}>"
        return self._processor.id_to_piece(token)

    def tokenizer(self) -> Any:
        """Returns the tensorflow_text.SentencepieceTokenizer (int32 ids, nothing added) for use inside tf.data."""
        import tensorflow_text

        return tensorflow_text.SentencepieceTokenizer(self.path.read_bytes())

    @cached_property
    def _processor(self) -> Any:
        return _processor(self.path.read_bytes(), self.path)


def load_vocabulary(name: str, *, cache_directory: Path) -> Vocabulary:
    """Returns the vocabulary of a SentencePiece file (a path or an fsspec URL), or for `t5` the published one.

    The model is copied into the cache under the hash of its content, and `t5` is fetched only once. Raises MissingError
    for a file that can't be had or isn't a SentencePiece model, ConfigurationError for one with other special ids.
    """
    cached = cache_directory / "vocabularies" / f"{T5_SHA256}.model"
    if name != "t5":
        model = read_bytes(os.path.expanduser(name), _MODEL_BYTES_LIMIT)
    elif cached.is_file() and hashlib.sha256(cached.read_bytes()).hexdigest() == T5_SHA256:
        model = cached.read_bytes()
    else:
        model = _fetch_t5()
    sha256 = hashlib.sha256(model).hexdigest()
    processor = _processor(model, name)  # before anything is written: the cache holds models only
    path = cache_directory / "vocabularies" / f"{sha256}.model"
    if not path.is_file() or path.read_bytes() != model:
        write_atomically(path, model)
    return Vocabulary(path, sha256, processor.get_piece_size())


def count_pieces(name: str) -> int:
    """Returns the number of pieces that `load_vocabulary` would find; nothing is fetched for `t5`, nothing written.

    Raises what `load_vocabulary` raises.
    """
    if name == "t5":
        return T5_PIECES
    return _processor(read_bytes(os.path.expanduser(name), _MODEL_BYTES_LIMIT), name).get_piece_size()


def train_vocabulary(documents: Iterable[str], pieces: int, path: Path) -> Vocabulary:
    """Trains a SentencePiece unigram model of `pieces` pieces on documents and writes it to `path`.

    Text is normalised as T5's (NFKC with nmt's white space). At most 20 MB of the documents are used, spread evenly, so
    the time is bounded; the same documents give the same model. Raises MissingError when there is no text, and
    ConfigurationError, which names a number that works, when the documents can't give that many pieces.
    """
    import sentencepiece

    if pieces < 1:
        raise ConfigurationError(f"vocabulary: {pieces} pieces; it takes a positive number")
    sample = _even_sample(documents)
    if not sample:
        raise MissingError(f"{path}: no text to train a vocabulary on")
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sample),
            model_writer=model,
            model_type="unigram",
            vocab_size=pieces,
            pad_id=PAD,
            eos_id=EOS,
            unk_id=UNKNOWN,
            bos_id=-1,
            normalization_rule_name="nmt_nfkc",
            num_threads=2,  # sums over threads depend on their number, and the model must not depend on the machine
            minloglevel=3,
        )
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigurationError(_explain(error, pieces)) from error
    write_atomically(path, model.getvalue())
    return Vocabulary(path, hashlib.sha256(model.getvalue()).hexdigest(), pieces)


def _explain(error: Exception, pieces: int) -> str:
    """Returns one line about a training that failed; the trainer's message holds the limit."""
    message = str(error)
    if most := re.search(r"value <= (\d+)", message):
        return f"vocabulary: this text is too small for {pieces} pieces; the most that it gives is {most[1]}"
    if least := re.search(r"required_chars\D*\d+ vs (\d+)", message):
        return f"vocabulary: {pieces} pieces are too few for the characters of this text; it takes at least {least[1]}"
    return f"vocabulary: {pieces} pieces can't be trained: {reason_of(error)}"


def _even_sample(documents: Iterable[str]) -> list[str]:
    """Returns chunks of the documents, every one or every second, fourth ... so that they fit into the limit."""
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


def _fetch_t5() -> bytes:
    """Returns the published T5 model from its public bucket, which needs no credentials."""
    advice = "pass the file itself: --vocabulary PATH/sentencepiece.model"
    try:
        with urllib.request.urlopen(T5_URL, timeout=30) as response:
            model = response.read(_MODEL_BYTES_LIMIT)
    except (OSError, http.client.HTTPException) as error:
        raise MissingError(f"vocabulary t5: {T5_URL} can't be fetched ({error}); {advice}") from error
    if hashlib.sha256(model).hexdigest() != T5_SHA256:
        raise MissingError(f"vocabulary t5: {T5_URL} isn't the published file (sha256 {T5_SHA256[:12]}...); {advice}")
    return model


def _processor(model: bytes, name: str | Path) -> Any:
    """Returns the SentencePiece processor of a model's bytes, after a look at its special ids."""
    import sentencepiece

    processor = sentencepiece.SentencePieceProcessor()
    try:
        processor.LoadFromSerializedProto(model)
        special = (processor.pad_id(), processor.eos_id(), processor.unk_id())
    except (RuntimeError, ValueError, TypeError) as error:
        raise MissingError(f"{display_name(str(name))}: not a SentencePiece model") from error
    if special != (PAD, EOS, UNKNOWN):
        raise ConfigurationError(
            f"{display_name(str(name))}: pad, eos and unk are ids {special}; a T5 vocabulary has {(PAD, EOS, UNKNOWN)}"
        )
    return processor
