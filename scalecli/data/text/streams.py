"""Large text sets read as they are trained on: TensorFlow datasets such as C4, or Parquet, which no cache can hold.

How shards are cut into windows and any item is found again is told in `data/windows.py`. Here a window has 8,192
documents, or fewer where they are long; it is tokenized, joined and cut into segments, which come in an order of their
own, none twice in an epoch.

A window yields the number of segments that the first window predicts, less six standard errors; surplus tokens (a
tenth of C4's) are skipped in this epoch, and others in the next. (Should a window have fewer segments, once in 10^9,
its first ones come twice.) Only documents of more than 65,536 characters, which are tokenized in pieces, call Python.

All of a long document is read, so its window has more surplus tokens, of which every epoch takes others; the
prediction counts at most 65,536 tokens of a document.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalecli.data.datasets import DatasetSplit
from scalecli.data.order import WHOLE, HostShare
from scalecli.data.sources import OnWork, silent
from scalecli.data.text.corpora import Corpus
from scalecli.data.text.parquet_shards import ParquetShards
from scalecli.data.text.span_corruption import SpanCorruption, check_sentinels, corrupted_example
from scalecli.data.text.tokens import PIECE, TokenStore, pieces
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.data.windows import Windows
from scalecli.errors import MissingError
from scalecli.storage.cache import Say

if TYPE_CHECKING:
    import tensorflow as tf

STREAMED_FROM = 1_000_000  # documents; fewer are tokenized once into the cache, and no text stays out of an epoch
WINDOW_DOCUMENTS = 8_192
_WINDOW_BYTES = 64 << 20  # of Parquet, whose footers say how long its texts are
_STANDARD_ERRORS = 6


@dataclass(frozen=True)
class TextStream:
    """A split of a text set that is read while it is trained on; `sample` holds the tokens of its first window."""

    split: DatasetSplit | ParquetShards
    vocabulary: Vocabulary
    sample: TokenStore
    window: int = WINDOW_DOCUMENTS

    @classmethod
    def open(
        cls,
        corpus: Corpus,
        vocabulary: Vocabulary,
        *,
        cache_directory: Path,
        on_work: OnWork = silent,
        window: int = WINDOW_DOCUMENTS,
        say: Say = lambda message: None,
    ) -> TextStream:
        """The stream of the corpus of a prepared dataset or of Parquet. Raises what `TokenStore.build` does."""
        assert corpus.shards is not None, "these files are no stream"
        if isinstance(corpus.shards, ParquetShards):
            mean = max(corpus.shards.bytes // max(corpus.shards.examples, 1), 1)
            window = max(min(window, _WINDOW_BYTES // mean), 1)
        first = corpus.first(window)
        sample = TokenStore.build(first, vocabulary, cache_directory=cache_directory, on_work=on_work, say=say)
        return cls(corpus.shards, vocabulary, sample, window)

    @property
    def documents(self) -> int:
        """The number of documents, empty ones too."""
        return self.split.examples

    def segments(self, documents: np.ndarray, objective: SpanCorruption) -> np.ndarray:
        """How many segments windows of so many documents give, int64 in the shape of `documents`."""
        read = min(self.window, self.documents)
        mean = self.sample.counted / read
        variance = self.sample.squares / read - mean**2
        tokens = mean * documents - _STANDARD_ERRORS * np.sqrt(variance * documents)
        return np.maximum(tokens // objective.segment_length, 0).astype(np.int64)

    def check(self, objective: SpanCorruption) -> None:
        """Checks that a window has a segment, and its spans have sentinels. Raises as `batches` does."""
        check_sentinels(objective, self.vocabulary.sentinels)
        _Segments.of(self, objective, 0)

    def batches(
        self, objective: SpanCorruption, *, batch: int, seed: int, start_step: int = 0, share: HostShare = WHOLE
    ) -> Any:
        """An endless tf.data.Dataset of training batches, as `pretraining_batches` does for a token store.

        Raises MissingError for a stream of which no window is sure to have a segment.
        """
        import tensorflow as tf

        sentinels = self.vocabulary.sentinels
        check_sentinels(objective, sentinels)
        segments_of = _Segments.of(self, objective, seed)
        tokenizer = self.vocabulary.tokenizer()
        start = start_step * batch

        def build(segment: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
            return corrupted_example(segment, n, seed, objective, sentinels)

        def read(serialized: tf.Tensor, shard: tf.Tensor, window: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return segments_of.window(tokenizer, serialized, shard, window, first, start)

        windows = segments_of.windows.from_item(start)
        segments = windows.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        segments = segments.flat_map(lambda *parts: tf.data.Dataset.from_tensor_slices(parts))
        if share.hosts > 1:
            segments = segments.filter(lambda segment, n: share.has(tf.cast(n, tf.int64), batch))
        examples = segments.map(build, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return examples.batch(share.piece(batch), drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def read_in_an_epoch(self, objective: SpanCorruption) -> float:
        """The share of the tokens that an epoch reads, as far as the first window tells."""
        sizes = _Segments.of(self, objective, 0).windows.total
        tokens = self.sample.tokens / min(self.window, self.documents) * self.documents
        return sizes * objective.segment_length / tokens

    def tokens_per_second(self, objective: SpanCorruption) -> float:
        """How fast the first window is read, tokenized and corrupted: the least that the pipeline gives."""
        count = int(self.segments(np.array(min(self.window, self.split.shards()[0][2])), objective))
        examples = self.batches(objective, batch=1, seed=0)
        start = time.perf_counter()
        for _ in examples.take(max(count, 1)):
            pass
        return max(count, 1) * (objective.inputs_length + objective.targets_length) / (time.perf_counter() - start)


@dataclass(frozen=True)
class _Segments:
    """The segments of windows, as functions in the graph; `rests` are those of each shard's last window."""

    windows: Windows
    texts: Callable[[Any], Any]  # of serialized records
    rests: tf.Tensor  # int64 [shards]
    segment_length: int

    @classmethod
    def of(cls, stream: TextStream, objective: SpanCorruption, seed: int) -> _Segments:
        import tensorflow as tf

        shards = stream.split.shards()
        documents = np.array([length for _, _, length in shards])
        full = int(stream.segments(np.array(stream.window), objective))
        rests = stream.segments(documents % stream.window, objective)
        sizes = documents // stream.window * full + rests
        if not sizes.sum():
            raise MissingError(
                f"{stream.split.identity}: {stream.documents} documents in {len(shards)} shards are too few to "
                f"be sure of a segment of {objective.segment_length} tokens; give more shards or shorter inputs"
            )
        windows = Windows.of(stream.split, sizes, full=full, window=stream.window, seed=seed)
        with tf.device("CPU"):
            return cls(windows, stream.split.texts, tf.constant(rests, tf.int64), objective.segment_length)

    def window(
        self, tokenizer: Any, serialized: tf.Tensor, shard: tf.Tensor, window: tf.Tensor, first: tf.Tensor, start: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """The segments of a window from `start` on, int32 [segments, segment_length], and their numbers."""
        import tensorflow as tf

        serialized, documents = self.windows.whole(serialized, shard, window)
        tokens = tokenizer.tokenize(_in_pieces(self.texts(serialized))).values
        available = tf.size(tokens, tf.int64) // self.segment_length
        full = tf.constant(self.windows.full, tf.int64)
        count = tf.where(documents == self.windows.window, full, self.rests[shard])
        numbers = tf.range(tf.maximum(start - first, 0), count)
        order = tf.random.experimental.index_shuffle(
            numbers % tf.maximum(available, 1),
            tf.stack([tf.constant(self.windows.seed, tf.int64), first]),
            tf.maximum(available, 1) - 1,
        )
        segments = tf.reshape(tokens[: available * self.segment_length], [-1, self.segment_length])
        return tf.gather(segments, order), first + numbers


def _in_pieces(texts: tf.Tensor) -> tf.Tensor:
    """Texts [documents], long ones cut into pieces [more], so that tokenizing them takes little memory."""
    import tensorflow as tf

    def cut(texts: np.ndarray) -> np.ndarray:
        parts = [part.encode() for text in texts for part in pieces(text.decode("utf-8", "replace"))]
        return np.array(parts, object)

    is_long = tf.reduce_any(tf.strings.length(texts) > PIECE)
    return tf.ensure_shape(tf.cond(is_long, lambda: tf.numpy_function(cut, [texts], tf.string), lambda: texts), [None])
