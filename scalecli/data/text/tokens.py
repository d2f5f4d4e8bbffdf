"""The token store: a corpus tokenised once into one flat, memory-mapped array.

Documents are joined with nothing between them, as T5 does. Training reads any piece of the array by its position, which
is what makes a batch a function of (seed, step) alone.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

from scalecli.data.text.corpora import Corpus
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.errors import MissingError, ScalecliError
from scalecli.storage.files import write_atomically

if TYPE_CHECKING:
    import tensorflow as tf

# A longer document gives one window of this many tokens, at random, so that no document fills a training run.
WINDOW = 65_536
_WINDOW_RULE = f"one uniform window of {WINDOW}, seeded by document"
_BATCH = 64  # documents tokenised in one call

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class TokenStore:
    """The tokens of one split of a corpus on disk: a .npy file of int32 [tokens], from that many documents.

    `squares` is the sum of the squares of the documents' lengths, which says how much they differ. `name` is that of
    the corpus and its split, for messages.
    """

    path: Path
    documents: int
    tokens: int
    squares: int = 0
    name: str = "corpus"

    @cached_property
    def array(self) -> np.ndarray:
        """Returns the tokens, int32 [tokens], memory-mapped. Raises MissingError when the file is gone or cut short."""
        try:
            array = np.load(self.path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise MissingError(f"{self.path}: not a token store; delete it and it is made anew") from error
        if array.shape != (self.tokens,):
            raise MissingError(f"{self.path}: {array.shape} tokens, expected {self.tokens}; delete it to make it anew")
        return array

    def tensor(self) -> tf.Tensor:
        """Returns the tokens as a TensorFlow tensor, int32 [tokens], that is the mapped file itself: no copy in memory.

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
        on_progress: Progress | None = None,
        at_least: int | None = None,
    ) -> TokenStore:
        """Returns the store of a corpus, from the cache when this corpus, split and vocabulary have been there before.

        `on_progress` hears the documents and tokens done so far, after each batch of documents. `at_least` ends the
        store where it has so many tokens. Raises what the corpus raises, and ScalecliError when the cache can't be
        written.
        """
        key = [
            corpus.identity,
            corpus.split,
            vocabulary.sha256,
            _WINDOW_RULE,
            *([] if at_least is None else [at_least]),
        ]
        name = hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]
        path = cache_directory / "tokens" / f"{name}.npy"
        counts = path.with_suffix(".json")  # written after the array: where it is, the array is whole
        if not (counts.is_file() and path.is_file()):
            with _replacing(path) as file:
                counted = _write(file, corpus, vocabulary, on_progress or (lambda documents, tokens: None), at_least)
            write_atomically(counts, json.dumps(counted))
        try:
            return cls(path, **json.loads(counts.read_text()), name=f"{corpus.name}, split {corpus.split!r}")
        except (OSError, ValueError, TypeError) as error:
            raise MissingError(f"{counts}: not a token store's counts; delete it to make the store anew") from error


@contextmanager
def _replacing(path: Path) -> Iterator[IO[bytes]]:
    """Opens a temporary file beside `path` that takes its place when the block ends without an error.

    Raises ScalecliError when the folder or the file can't be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    except OSError as error:
        raise ScalecliError(f"{path}: can't be written: {error.strerror or error}") from error
    try:
        with open(descriptor, "w+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's files are for their owner only; a cache may be shared
        os.replace(temporary, path)
    except OSError as error:
        raise ScalecliError(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def _write(
    file: IO[bytes], corpus: Corpus, vocabulary: Vocabulary, on_progress: Progress, at_least: int | None
) -> dict[str, int]:
    """Writes a corpus's tokens as a .npy file; returns the number of documents, of tokens, and the lengths' squares."""
    documents = tokens = squares = 0
    _write_header(file, tokens)
    start = file.tell()
    for batch, lengths in _tokenized(corpus, vocabulary):
        file.write(batch.astype("<i4", copy=False).tobytes())
        documents += len(lengths)
        tokens += len(batch)
        squares += int(np.square(lengths).sum())
        on_progress(documents, tokens)
        if at_least is not None and tokens >= at_least:
            break
    file.seek(0)
    _write_header(file, tokens)
    assert file.tell() == start, "numpy leaves room in the header for a longer array"
    return {"documents": documents, "tokens": tokens, "squares": squares}


def _write_header(file: IO[bytes], tokens: int) -> None:
    header = {"descr": "<i4", "fortran_order": False, "shape": (tokens,)}
    np.lib.format.write_array_header_1_0(file, header)


def _tokenized(corpus: Corpus, vocabulary: Vocabulary) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields, batch by batch, the documents' tokens, int32 [tokens], and the length of each, int64 [documents].

    Threads call one graph, rather than tf.data a generator: an error or Ctrl-C in a generator that tf.data waits for
    can leave both waiting for ever.
    """
    import tensorflow as tf

    tokenizer = vocabulary.tokenizer()

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string), tf.TensorSpec([], tf.int64)])
    def tokenize(texts: tf.Tensor, batch_index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return cut_to_window(tokenizer.tokenize(texts), batch_index)

    workers = os.cpu_count() or 1
    pending: deque[Future] = deque()
    documents = corpus.documents()
    with ThreadPoolExecutor(workers) as pool:
        for index in itertools.count():
            batch = list(itertools.islice(documents, _BATCH))
            if batch:
                pending.append(pool.submit(tokenize, tf.constant(batch), tf.constant(index, tf.int64)))
            elif not pending:
                return
            if not batch or len(pending) > 2 * workers:
                tokens, lengths = pending.popleft().result()
                yield tokens.numpy(), lengths.numpy()


def cut_to_window(ragged: tf.RaggedTensor, batch_index: tf.Tensor, window: int = WINDOW) -> tuple[tf.Tensor, tf.Tensor]:
    """Cuts each document of a batch, [documents, (tokens)], to a random window of at most `window` tokens.

    Every window that fits is equally likely; which one it is depends on the document's index in the corpus only, as
    batches are of one size. Returns the tokens of all documents, [tokens], and the length of each, [documents].
    """
    import tensorflow as tf

    lengths = ragged.row_lengths()  # [documents]
    seed = tf.stack([tf.cast(batch_index, tf.int64), tf.constant(window, tf.int64)])
    draw = tf.random.stateless_uniform(tf.shape(lengths), seed, dtype=tf.float64, alg="philox")
    room = tf.maximum(lengths - window, 0)
    starts = tf.cast(draw * tf.cast(room + 1, tf.float64), tf.int64)
    starts = tf.repeat(starts, lengths)  # [tokens of all documents]
    positions = tf.ragged.range(lengths).values
    inside = (positions >= starts) & (positions < starts + window)
    return tf.boolean_mask(ragged.values, inside), tf.minimum(lengths, window)
