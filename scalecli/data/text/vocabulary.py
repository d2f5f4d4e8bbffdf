"""Vocabularies: SentencePiece models, and the 100 sentinels that T5 puts after their pieces (T5 paper, 2.2).

Ids 0, 1 and 2 are padding, end of sequence and unknown; the sentinels are the last 100 ids, counted down: <extra_id_0>
is the last id. A model that holds pieces of these names, as mT5's does, gets no others. The embedding table has a
multiple of 128 rows, so that it divides among devices.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import urllib.request
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scalecli.data.sources import display_name
from scalecli.data.text.pieces import CONTROL, EOS, PAD, SENTINELS, UNKNOWN, USER_DEFINED, model_proto
from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.storage.files import NETWORK_SECONDS, read_bytes, write_atomically

if TYPE_CHECKING:
    import numpy as np

# The public face of gs://t5-data/vocabs/cc_all.32000/sentencepiece.model: plain HTTPS fails at once without a network.
T5_URL = "https://storage.googleapis.com/t5-data/vocabs/cc_all.32000/sentencepiece.model"
T5_SHA256 = "d60acb128cf7b7f2536e8f38a5b18a05535c9e14c7a355904270e15b0945ea86"
T5_PIECES = 32_000

UNKNOWN_LIMIT = 0.001  # more unknown tokens than this are worth a warning
_MODEL_BYTES_LIMIT = 64 << 20  # a SentencePiece model of 250,000 pieces has 5 MB, a tokenizer.json of them 16 MB


@dataclass(frozen=True)
class Vocabulary:
    """A SentencePiece model on disk, the SHA-256 of the file, and the number of its pieces.

    `own_sentinels` are the ids of its pieces <extra_id_0>, <extra_id_1> and so on, if it holds any.
    """

    path: Path
    sha256: str
    pieces: int
    own_sentinels: tuple[int, ...] = ()

    @property
    def sentinels(self) -> tuple[int, ...]:
        """The ids of the sentinels in the order in which an example uses them, <extra_id_0> first."""
        return self.own_sentinels or tuple(range(self.pieces + SENTINELS - 1, self.pieces - 1, -1))

    @property
    def size(self) -> int:
        """The number of ids: pieces and sentinels."""
        return self.pieces + (0 if self.own_sentinels else SENTINELS)

    @property
    def rows(self) -> int:
        """The rows of the embedding table: `size` padded up to a multiple of 128."""
        return -(-self.size // 128) * 128

    @property
    def content(self) -> str:
        """The number of ids, for messages: `180 ids (80 pieces and 100 sentinels)`."""
        own = f"{len(self.own_sentinels)} of them" if self.own_sentinels else f"and {SENTINELS}"
        return f"{self.size} ids ({self.pieces} pieces{',' if self.own_sentinels else ''} {own} sentinels)"

    def encode(self, text: str) -> list[int]:
        """The ids of a task's text, without an end of sequence.

        `<extra_id_0>` after a space or at the beginning is the sentinel, as in SeqIO. `</s>` and `<pad>` are text.
        """
        ids = self.processor.encode(text)
        return [token - SENTINELS if token >= self.size else token for token in ids]

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids up to the first end of sequence, without padding.

        Sentinels are written <extra_id_k>; ids beyond the vocabulary, which an embedding table with padded rows can
        predict, count as unknown.
        """
        kept: list[int] = []
        for token in map(int, ids):
            if token == EOS:
                break
            if token != PAD:
                kept.append(token if 0 <= token < self.size else UNKNOWN)
        return self.processor.decode(kept)

    def piece(self, token: int) -> str:
        """How an id is written: the piece, with ▁ for a space, </s>, <pad>, <unk>, or <extra_id_k>."""
        if token in self.sentinels:
            return f"<extra_id_{self.sentinels.index(token)}>"
        return self.processor.id_to_piece(token)

    def tokenizer(self) -> Any:
        """The tensorflow_text.SentencepieceTokenizer (int32 ids, nothing added) for use inside tf.data.

        It is for corpora: no text in them becomes a sentinel, so that only span corruption makes sentinels.
        """
        import tensorflow_text

        return tensorflow_text.SentencepieceTokenizer(self._corpus_model())

    def model(self) -> Any:
        """What is in the file, as a sentencepiece_model_pb2.ModelProto."""
        return model_proto(self.path.read_bytes())

    def _corpus_model(self) -> bytes:
        if not self.own_sentinels:
            return self.path.read_bytes()
        model = self.model()
        for token in self.own_sentinels:
            model.pieces[token].type = CONTROL  # never matched in text
        return model.SerializeToString()

    @cached_property
    def processor(self) -> Any:
        """The sentencepiece.SentencePieceProcessor with sentinels as pieces, as SeqIO makes it.

        Where no space is put before a text, the sentinels have a second form, without a space, for its beginning; its
        ids are beyond `size`.
        """
        model = self.model()
        for token in self.own_sentinels:
            model.pieces[token].type = USER_DEFINED
        if not self.own_sentinels:
            for space in ("▁",) if model.normalizer_spec.add_dummy_prefix else ("▁", ""):
                for number in reversed(range(SENTINELS)):
                    model.pieces.add(piece=f"{space}<extra_id_{number}>", score=0.0, type=USER_DEFINED)
        return _processor(model.SerializeToString(), self.path)


def unknown_share(sequences: Iterable[np.ndarray]) -> float:
    """The share of the ids in sequences, int32 [length] each, that are unknown; 0 where there are none."""
    unknown = tokens = 0
    for ids in sequences:
        unknown += int((ids == UNKNOWN).sum())
        tokens += len(ids)
    return unknown / max(tokens, 1)


def unknown_warning(name: str, share: float) -> list[str]:
    """A line on the share of a text's tokens that are unknown, or none where it is at most 0.1%."""
    if share <= UNKNOWN_LIMIT:
        return []
    return [f"{name}: {share:.2%} of the tokens are unknown to the vocabulary; another vocabulary may know them"]


def load_vocabulary(name: str, *, cache_directory: Path) -> Vocabulary:
    """The vocabulary of a file (a path or an fsspec URL), or for `t5` the published one.

    The file is a SentencePiece model, or a tokenizer.json that can be one. The model is copied into the cache under the
    hash of its content, and `t5` is fetched only once. Raises MissingError for a file that can't be had or is neither,
    ConfigurationError for one with other special ids or what SentencePiece does not have.
    """
    cached = cache_directory / "vocabularies" / f"{T5_SHA256}.model"
    if name != "t5":
        model = _read_model(name)
    elif cached.is_file() and hashlib.sha256(cached.read_bytes()).hexdigest() == T5_SHA256:
        model = cached.read_bytes()
    else:
        model = _fetch_t5()
    sha256 = hashlib.sha256(model).hexdigest()
    path = cache_directory / "vocabularies" / f"{sha256}.model"
    vocabulary = _described(model, name, path, sha256)  # before anything is written: the cache holds models only
    try:
        if not path.is_file() or path.read_bytes() != model:
            write_atomically(path, model)
    except (OSError, ScalecliError):
        # A local model needs no copy; a later change of it would be found by those who compare its hash.
        own = Path(os.path.expanduser(name))
        if not own.is_file() or own.read_bytes() != model:
            raise
        return replace(vocabulary, path=own)
    return vocabulary


def planned_vocabulary(name: str) -> Vocabulary:
    """The pieces and sentinels that `load_vocabulary` would find; it has no file and can't encode.

    Nothing is fetched for `t5`, nothing written. Raises what `load_vocabulary` raises.
    """
    if name == "t5":
        return Vocabulary(Path(), T5_SHA256, T5_PIECES)
    model = _read_model(name)
    return _described(model, name, Path(), hashlib.sha256(model).hexdigest())


def _read_model(name: str) -> bytes:
    """A SentencePiece model's bytes, made of a tokenizer.json where the file is one."""
    content = read_bytes(os.path.expanduser(name), _MODEL_BYTES_LIMIT)
    if content[:1] != b"{":
        return content
    from scalecli.data.text.tokenizer_json import sentencepiece_model

    return sentencepiece_model(content, display_name(name))


def _described(model: bytes, name: str, path: Path, sha256: str) -> Vocabulary:
    processor = _processor(model, name)
    return Vocabulary(path, sha256, processor.get_piece_size(), _own_sentinels(processor.piece_to_id, name))


def _own_sentinels(piece_to_id: Callable[[str], int], name: str) -> tuple[int, ...]:
    """The ids of a model's pieces <extra_id_0>, <extra_id_1> ..., with ▁ before them or without."""

    def find(number: int) -> int | None:
        ids = map(piece_to_id, (f"▁<extra_id_{number}>", f"<extra_id_{number}>"))
        return next((token for token in ids if token != UNKNOWN), None)

    sentinels: list[int] = []
    while (token := find(len(sentinels))) is not None:
        sentinels.append(token)
    if not sentinels and find(1) is not None:
        raise ConfigurationError(
            f"{display_name(name)}: has a piece <extra_id_1> but no <extra_id_0>; sentinels are counted from 0"
        )
    return tuple(sentinels)


def _fetch_t5() -> bytes:
    """The published T5 model from its public bucket, which needs no credentials."""
    advice = "pass the file itself: --vocabulary PATH/sentencepiece.model"
    try:
        with urllib.request.urlopen(T5_URL, timeout=NETWORK_SECONDS) as response:
            model = response.read(_MODEL_BYTES_LIMIT)
    except (OSError, http.client.HTTPException) as error:
        raise MissingError(f"vocabulary t5: {T5_URL} can't be fetched ({error}); {advice}") from error
    if hashlib.sha256(model).hexdigest() != T5_SHA256:
        raise MissingError(f"vocabulary t5: {T5_URL} isn't the published file (sha256 {T5_SHA256[:12]}...); {advice}")
    return model


def _processor(model: bytes, name: str | Path) -> Any:
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
