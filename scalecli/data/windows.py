"""Large sets on disk read as they are trained on: the shards of a TensorFlow dataset or of Parquet, window by window.

A shard's records are cut into windows. An epoch goes through all shards in an order of its own, and through a shard's
windows from first to last. A window's reader decides which items the window gives, and in which order; their number
depends on the number of its records alone. So the dataset's description says where item n of training is, and a run
resumes at any item by reading from that item's window on. All of it is a graph; only the records of formats that
TensorFlow can't read come from Python (see `blocks`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalecli.data.order import shuffled_index

if TYPE_CHECKING:
    import tensorflow as tf

    from scalecli.data.datasets import DatasetSplit
    from scalecli.data.text.parquet_shards import ParquetShards

DAMAGED = "a shard has fewer examples than its dataset says"


@dataclass(frozen=True)
class Windows:
    """The windows of all epochs among the items 0, 1 ... of training, as functions in the graph.

    `records(path, start, count)` is a tf.data.Dataset of a file's records. By shard, `paths` are the files, `skips` the
    records before the split's first, `lengths` the records of the split, and `sizes` the items that these give. `full`
    are the items of a window of `window` records, `total` those of an epoch.
    """

    records: Callable[[Any, Any, Any], Any]
    paths: tf.Tensor  # string [shards]
    skips: tf.Tensor  # int64 [shards]
    lengths: tf.Tensor  # int64 [shards]
    sizes: tf.Tensor  # int64 [shards]
    full: int
    total: int
    window: int
    seed: int

    @classmethod
    def of(
        cls, split: DatasetSplit | ParquetShards, sizes: np.ndarray, *, full: int, window: int, seed: int
    ) -> Windows:
        """The windows of a split's shards, which give `sizes` [shards] items."""
        import tensorflow as tf

        paths, skips, lengths = zip(*split.shards(), strict=True)
        with tf.device("CPU"):
            return cls(
                split.records,
                tf.constant(paths),
                tf.constant(skips, tf.int64),
                tf.constant(lengths, tf.int64),
                tf.constant(sizes, tf.int64),
                full=full,
                total=int(sizes.sum()),
                window=window,
                seed=seed,
            )

    def from_item(self, start: int) -> Any:
        """The endless tf.data.Dataset of windows, beginning with that of item `start`; see `_windows_of`."""
        import tensorflow as tf

        epochs = tf.data.Dataset.range(start // self.total, np.iinfo(np.int64).max)
        shards = epochs.flat_map(lambda epoch: self._shards_of(epoch, start))
        return shards.flat_map(lambda shard, first: self._windows_of(shard, first, start))

    def whole(self, serialized: tf.Tensor, shard: tf.Tensor, window: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The records of a window, string [records], and their number; an error in the graph where some are missing."""
        import tensorflow as tf

        records = tf.minimum(self.lengths[shard] - window * self.window, self.window)
        are_there = tf.debugging.assert_equal(tf.size(serialized, tf.int64), records, message=DAMAGED)
        with tf.control_dependencies([are_there]):
            return tf.identity(serialized), records

    def _shards_of(self, epoch: tf.Tensor, start: int) -> tf.data.Dataset:
        """The shards of an epoch that end after item `start`, each with the number of its first item."""
        import tensorflow as tf

        shards = len(self.paths)
        order = shuffled_index(epoch * shards + tf.range(shards, dtype=tf.int64), shards, self.seed)
        sizes = tf.gather(self.sizes, order)
        firsts = epoch * self.total + tf.cumsum(sizes, exclusive=True)
        left = firsts + sizes > start
        return tf.data.Dataset.from_tensor_slices((tf.boolean_mask(order, left), tf.boolean_mask(firsts, left)))

    def _windows_of(self, shard: tf.Tensor, first: tf.Tensor, start: int) -> tf.data.Dataset:
        """The windows of a shard, beginning with that of item `start`.

        A window is its serialized records, string [records], its shard, its number there, and its first item's number.
        """
        import tensorflow as tf

        length = self.lengths[shard]
        done = tf.maximum(start - first, 0) // max(self.full, 1)
        done = tf.minimum(done, length // self.window)
        start = done * self.window
        records = self.records(self.paths[shard], self.skips[shard] + start, length - start)
        # Missing records of a damaged shard come as empty windows, which `whole` refuses.
        missing = tf.data.Dataset.from_tensors(tf.constant([], tf.string)).repeat()
        numbers = tf.data.Dataset.range(done, -(-length // self.window))
        windows = tf.data.Dataset.zip(records.batch(self.window).concatenate(missing), numbers)
        return windows.map(lambda records, number: (records, shard, number, first + number * self.full))
