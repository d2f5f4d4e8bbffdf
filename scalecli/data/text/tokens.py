"""The token store: a corpus tokenized once into one flat, memory-mapped array.

Documents are joined with nothing between them, as T5 does. Training reads any piece of the array by its position, which
is what makes a batch a function of (seed, step) alone.
"""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from scalecli.data.sources import OnWork, Remarks, silent
from scalecli.data.text.corpora import Corpus
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.errors import MissingError, ScalecliError
from scalecli.storage.cache import Say, seal, sealed
from scalecli.storage.files import cleaned_up

if TYPE_CHECKING:
    import tensorflow as tf

# A longer document counts as one of this many tokens where the lengths of others are told from those at hand.
COUNTED = 65_536
PIECE = 65_536  # characters that are tokenized at once: SentencePiece takes more than 100 bytes of memory for each
_BATCH = 64  # pieces tokenized in one call
_BATCH_CHARACTERS = 262_144
_FORMAT = "whole documents"  # of a store; another one is kept under another name


@dataclass(frozen=True)
class TokenStore:
    """The tokens of one split of a corpus on disk: a .npy file of int32 [tokens], from that many documents.

    `counted` is the sum of the documents' lengths, each of at most 65,536 tokens, and `squares` that of their squares,
    which says how much they differ. `remarks` say what of the corpus was left out or replaced. `name` is that of the
    corpus and its split, for messages.
    """

    path: Path
    documents: int
    tokens: int
    counted: int = 0
    squares: int = 0
    remarks: Sequence[str] = ()
    name: str = "corpus"

    @cached_property
    def array(self) -> np.ndarray:
        """The tokens, int32 [tokens], memory-mapped. Raises MissingError where the file has gone since."""
        try:
            return np.load(self.path, mmap_mode="r")
        except (OSError, ValueError, EOFError) as error:
            raise MissingError(f"{self.path}: changed since it was opened; the same command makes it anew") from error

    def tensor(self) -> tf.Tensor:
        """The tokens as a TensorFlow tensor, int32 [tokens], that is the mapped file itself: no copy in memory.

        So tf.data slices it in the graph, without a call into Python that could wait for one that waits for it.
        """
        import tensorflow as tf

        header = (self.path.stat().st_size - self.array.nbytes) // 4  # of the file, in tokens
        with tf.device("CPU"):
            mapped = tf.raw_ops.ImmutableConst(
                dtype=tf.int32, shape=[header + self.tokens], memory_region_name=str(self.path.resolve())
            )
            return mapped[header:]

    @classmethod
    def build(
        cls,
        corpus: Corpus,
        vocabulary: Vocabulary,
        *,
        cache_directory: Path,
        on_work: OnWork = silent,
        at_least: int | None = None,
        say: Say = lambda message: None,
    ) -> TokenStore:
        """The store of a corpus, from the cache when this corpus, split and vocabulary have been there before.

        `say` is told of a damaged store, which is made anew. `at_least` ends the store where it has so many tokens.
        Raises what the corpus raises, and ScalecliError when the cache can't be written.
        """
        key = [corpus.identity, corpus.split, vocabulary.sha256, _FORMAT, *([] if at_least is None else [at_least])]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
        path = cache_directory / "tokens" / f"{name}.npy"
        counted = sealed(path, say)
        if counted is None:
            with _replacing(path) as file:
                counted = _write(file, corpus, vocabulary, on_work, at_least)
            seal(path, counted)
        return cls(path, **counted, name=f"{corpus.name}, split {corpus.split!r}")


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file beside `path` that takes its place when the block ends without an error.

    Raises ScalecliError when the folder or the file can't be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = temporary.open("x+b")
    except OSError as error:
        raise ScalecliError(f"{path}: can't be written: {error.strerror or error}") from error
    try:
        with cleaned_up(lambda: temporary.unlink(missing_ok=True)):
            with opened as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
    except OSError as error:
        raise ScalecliError(f"{path}: can't be written: {error.strerror or error}") from error


def _write(
    file: IO[bytes], corpus: Corpus, vocabulary: Vocabulary, on_work: OnWork, at_least: int | None
) -> dict[str, Any]:
    """Writes a corpus's tokens as a .npy file; returns the fields of its `TokenStore` that count them."""
    tokens, remarks, lengths = 0, Remarks(), _Lengths()
    _write_header(file, tokens)
    start = file.tell()
    for batch, piece_lengths, begins in _tokenized(corpus.documents(remarks), vocabulary):
        file.write(batch.astype("<i4", copy=False).tobytes())
        tokens += len(batch)
        lengths.add(piece_lengths, begins)
        share = corpus.share_read(remarks)
        if at_least is not None:
            share = max(share or 0.0, min(tokens / at_least, 1.0))
        on_work(f"tokenized {lengths.documents:,} documents, {tokens:,} tokens", share)
        if at_least is not None and tokens >= at_least:
            break
    lengths.close()
    file.seek(0)
    _write_header(file, tokens)
    assert file.tell() == start, "numpy leaves room in the header for a longer array"
    return {"tokens": tokens, "remarks": remarks.lines(), **asdict(lengths)}


@dataclass
class _Lengths:
    """Counts documents and their lengths, as they come in pieces."""

    documents: int = 0
    counted: int = 0
    squares: int = 0

    def __post_init__(self) -> None:
        self._length = 0  # of the document at hand

    def add(self, lengths: np.ndarray, begins: Sequence[bool]) -> None:
        """Takes the lengths of pieces, in tokens, and whether a document begins with each."""
        for length, is_first in zip(lengths.tolist(), begins, strict=True):
            if is_first:
                self.close()
                self.documents += 1
            self._length += length

    def close(self) -> None:
        """Ends the document at hand."""
        length, self._length = min(self._length, COUNTED), 0
        self.counted += length
        self.squares += length**2


def _write_header(file: IO[bytes], tokens: int) -> None:
    header = {"descr": "<i4", "fortran_order": False, "shape": (tokens,)}
    np.lib.format.write_array_header_1_0(file, header)


def _tokenized(
    documents: Iterator[str], vocabulary: Vocabulary
) -> Iterator[tuple[np.ndarray, np.ndarray, Sequence[bool]]]:
    """Yields, batch by batch, the tokens of pieces, int32 [tokens], the length of each, and which begin a document.

    Threads call one graph, rather than tf.data a generator: an error or Ctrl-C in a generator that tf.data waits for
    can leave both waiting for ever.
    """
    import tensorflow as tf

    tokenizer = vocabulary.tokenizer()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def tokenize(texts: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        ragged = tokenizer.tokenize(texts)
        return ragged.values, ragged.row_lengths()

    workers = os.cpu_count() or 1
    pending: deque[tuple[Future, Sequence[bool]]] = deque()
    batches = _batches(documents)
    with ThreadPoolExecutor(workers) as pool:
        try:
            while True:
                texts, begins = next(batches, ([], []))
                if texts:
                    pending.append((pool.submit(tokenize, tf.constant(texts)), begins))
                elif not pending:
                    return
                if not texts or len(pending) > 2 * workers:
                    future, its_begins = pending.popleft()
                    tokens, lengths = future.result()
                    yield tokens.numpy(), lengths.numpy(), its_begins
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C nobody waits for what has not begun


def _batches(documents: Iterator[str]) -> Iterator[tuple[list[str], list[bool]]]:
    batch: list[str] = []
    begins: list[bool] = []
    characters = 0
    for document in documents:
        for number, piece in enumerate(pieces(document)):
            batch.append(piece)
            begins.append(number == 0)
            characters += len(piece)
            if len(batch) == _BATCH or characters >= _BATCH_CHARACTERS:
                yield batch, begins
                batch, begins, characters = [], [], 0
    if batch:
        yield batch, begins


def pieces(text: str) -> Iterator[str]:
    """Yields a text in pieces of at most `PIECE` characters.

    They are cut at white space, where no token of a SentencePiece model of words spans the cut: the tokens of the
    pieces are those of the text. In text that has none so far, a cut adds the token of a word's beginning.
    """
    start = 0
    while len(text) - start > PIECE:
        end = start + PIECE
        space = max(text.rfind(" ", start + 1, end), text.rfind("\n", start + 1, end))
        yield text[start : (end if space < 0 else space)]
        start = end if space < 0 else space + 1
    yield text[start:]
