"""Large text sets read as they are trained on: TensorFlow datasets such as C4, which no cache of tokens can hold.

A shard's documents are cut into windows of 8,192. A window is tokenised, joined and cut into segments, of which it
gives a number that depends on its number of documents alone, in an order of its own. So how many segments come before a
window is known from the dataset's own description, and batch `step` is a function of (seed, step): a run goes on from
any step by reading from the window that the step lies in. An epoch goes through all windows, shard by shard in an order
of its own, and meets no segment twice.

The number of segments is six standard errors less than the documents of the first window lead to expect, so that a
window has as many; what it has more, a tenth of C4's, stays out of this epoch, and others stay out of the next. (Should
a window have fewer, once in 10^9, its first ones come twice.) All of it is a graph, without a call into Python.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scalecli.data.corpora import Corpus
from scalecli.data.datasets import DatasetSplit
from scalecli.data.shares import WHOLE, Share
from scalecli.data.span_corruption import SpanCorruption, check_sentinels, corrupted_example, shuffled_index
from scalecli.data.tokens import Progress, TokenStore, cut_to_window
from scalecli.data.vocabulary import Vocabulary
from scalecli.errors import MissingError

if TYPE_CHECKING:
    import tensorflow as tf

STREAMED_FROM = 1_000_000  # documents; fewer are tokenised once into the cache, and no text stays out of an epoch
WINDOW_DOCUMENTS = 8_192
_STANDARD_ERRORS = 6
_READ_BYTES = 8 << 20
DAMAGED = "a shard has fewer documents than its dataset says"


@dataclass(frozen=True)
class TextStream:
    """A split of a text set that is read while it is trained on; `sample` holds the tokens of its first window."""

    split: DatasetSplit
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
        on_progress: Progress | None = None,
        window: int = WINDOW_DOCUMENTS,
    ) -> TextStream:
        """Returns the stream of the corpus of a prepared dataset. Raises what `TokenStore.build` does."""
        assert corpus.dataset is not None, "text files are no stream"
        first = corpus.first(window)
        sample = TokenStore.build(first, vocabulary, cache_directory=cache_directory, on_progress=on_progress)
        return cls(corpus.dataset, vocabulary, sample, window)

    @property
    def documents(self) -> int:
        """Returns the number of documents, empty ones too."""
        return self.split.examples

    def segments(self, documents: np.ndarray, objective: SpanCorruption) -> np.ndarray:
        """Returns how many segments windows of so many documents give, int64 in the shape of `documents`."""
        read = min(self.window, self.documents)
        mean = self.sample.tokens / read
        variance = self.sample.squares / read - mean**2
        tokens = mean * documents - _STANDARD_ERRORS * np.sqrt(variance * documents)
        return np.maximum(tokens // objective.segment_length, 0).astype(np.int64)

    def batches(
        self,
        objective: SpanCorruption,
        *,
        vocabulary_size: int,
        batch: int,
        seed: int,
        start_step: int = 0,
        share: Share = WHOLE,
    ) -> Any:
        """Returns an endless tf.data.Dataset of training batches, as `pretraining_batches` does for a token store.

        Raises MissingError for a stream of which no window is sure to have a segment.
        """
        import tensorflow as tf

        check_sentinels(objective)
        epochs = _Epochs.of(self, objective, seed)
        tokenizer = self.vocabulary.tokenizer()
        start = start_step * batch

        def build(segment: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
            return corrupted_example(segment, n, seed, objective, vocabulary_size)

        def read(serialized: tf.Tensor, shard: tf.Tensor, window: tf.Tensor, first: tf.Tensor) -> tuple[tf.Tensor, ...]:
            return epochs.segments_of(tokenizer, serialized, shard, window, first, start)

        windows = tf.data.Dataset.range(start // epochs.total, np.iinfo(np.int64).max)
        windows = windows.flat_map(lambda epoch: epochs.shards_of(epoch, start))
        windows = windows.flat_map(lambda shard, first: epochs.windows_of(shard, first, start))
        segments = windows.map(read, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        segments = segments.flat_map(lambda *parts: tf.data.Dataset.from_tensor_slices(parts))
        if share.hosts > 1:
            segments = segments.filter(lambda segment, n: share.has(tf.cast(n, tf.int64), batch))
        examples = segments.map(build, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return examples.batch(share.piece(batch), drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def tokens_per_second(self, objective: SpanCorruption) -> float:
        """Returns how fast the first window is read, tokenised and corrupted: the least that the pipeline gives."""
        count = int(self.segments(np.array(min(self.window, self.split.shards()[0][2])), objective))
        examples = self.batches(objective, vocabulary_size=self.vocabulary.size, batch=1, seed=0)
        start = time.perf_counter()
        for _ in examples.take(max(count, 1)):
            pass
        return max(count, 1) * (objective.inputs_length + objective.targets_length) / (time.perf_counter() - start)


@dataclass(frozen=True)
class _Epochs:
    """Where the windows of all epochs lie among segments 0, 1 ... of training, as functions in the graph.

    paths, skips, lengths, sizes: by shard, the file, its documents before the split's first, the split's, and the
    segments that they give. full: the segments of a window of `window` documents; total: those of an epoch.
    """

    paths: tf.Tensor  # string [shards]
    skips: tf.Tensor  # int64 [shards]
    lengths: tf.Tensor  # int64 [shards]
    sizes: tf.Tensor  # int64 [shards]
    rests: tf.Tensor  # int64 [shards]: the segments of a shard's last window, which is not full
    full: int
    total: int
    window: int
    segment_length: int
    seed: int

    @classmethod
    def of(cls, stream: TextStream, objective: SpanCorruption, seed: int) -> _Epochs:
        import tensorflow as tf

        paths, skips, lengths = zip(*stream.split.shards(), strict=True)
        documents = np.array(lengths)
        full = int(stream.segments(np.array(stream.window), objective))
        rests = stream.segments(documents % stream.window, objective)
        sizes = documents // stream.window * full + rests
        if not sizes.sum():
            raise MissingError(
                f"dataset {stream.split.identity}: {stream.documents} documents in {len(paths)} shards are too few to "
                f"be sure of a segment of {objective.segment_length} tokens; give more shards or shorter inputs"
            )
        with tf.device("CPU"):
            return cls(
                tf.constant(paths),
                tf.constant(skips, tf.int64),
                tf.constant(lengths, tf.int64),
                tf.constant(sizes, tf.int64),
                tf.constant(rests, tf.int64),
                full=full,
                total=int(sizes.sum()),
                window=stream.window,
                segment_length=objective.segment_length,
                seed=seed,
            )

    def shards_of(self, epoch: tf.Tensor, start: int) -> tf.data.Dataset:
        """Returns the shards of an epoch that end after segment `start`, each with the number of its first segment."""
        import tensorflow as tf

        shards = len(self.paths)
        order = shuffled_index(epoch * shards + tf.range(shards, dtype=tf.int64), shards, self.seed)
        sizes = tf.gather(self.sizes, order)
        firsts = epoch * self.total + tf.cumsum(sizes, exclusive=True)
        left = firsts + sizes > start
        return tf.data.Dataset.from_tensor_slices((tf.boolean_mask(order, left), tf.boolean_mask(firsts, left)))

    def windows_of(self, shard: tf.Tensor, first: tf.Tensor, start: int) -> tf.data.Dataset:
        """Returns the windows of a shard from the one on that segment `start` lies in.

        Each is its serialized documents, string [documents], the shard, its number there and that of its first segment.
        """
        import tensorflow as tf

        length = self.lengths[shard]
        done = tf.maximum(start - first, 0) // max(self.full, 1)
        done = tf.minimum(done, length // self.window)
        records = tf.data.TFRecordDataset(self.paths[shard], buffer_size=_READ_BYTES)
        records = records.skip(self.skips[shard] + done * self.window).take(length - done * self.window)
        # What a damaged shard has not comes as empty windows, which `segments_of` finds to be too short.
        missing = tf.data.Dataset.from_tensors(tf.constant([], tf.string)).repeat()
        numbers = tf.data.Dataset.range(done, -(-length // self.window))
        windows = tf.data.Dataset.zip(records.batch(self.window).concatenate(missing), numbers)
        return windows.map(lambda documents, number: (documents, shard, number, first + number * self.full))

    def segments_of(
        self, tokenizer: Any, serialized: tf.Tensor, shard: tf.Tensor, window: tf.Tensor, first: tf.Tensor, start: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the segments of a window from `start` on, int32 [segments, segment_length], and their numbers."""
        import tensorflow as tf

        documents = tf.minimum(self.lengths[shard] - window * self.window, self.window)
        whole = tf.debugging.assert_equal(tf.size(serialized, tf.int64), documents, message=DAMAGED)
        with tf.control_dependencies([whole]):
            feature = tf.io.FixedLenFeature([], tf.string)
            texts = tf.strings.strip(tf.io.parse_example(serialized, {"text": feature})["text"])
        tokens, _ = cut_to_window(tokenizer.tokenize(texts), shard * (1 << 32) + window)
        available = tf.size(tokens, tf.int64) // self.segment_length
        count = tf.where(documents == self.window, tf.constant(self.full, tf.int64), self.rests[shard])
        numbers = tf.range(tf.maximum(start - first, 0), count)
        order = tf.random.experimental.index_shuffle(
            numbers % tf.maximum(available, 1),
            tf.stack([tf.constant(self.seed, tf.int64), first]),
            tf.maximum(available, 1) - 1,
        )
        segments = tf.reshape(tokens[: available * self.segment_length], [-1, self.segment_length])
        return tf.gather(segments, order), first + numbers
