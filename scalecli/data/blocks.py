"""Records of shards that TensorFlow itself can't read, in a tf.data pipeline: blocks of them come from Python."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf

_RECORDS = 256  # of a block


class Blocks:
    """Reads blocks of records of a shard.

    `open_shard` yields a file's records from one on. A block that begins where the last one ended goes on with its
    iterator, so that a shard is opened once, and a run that goes on skips what it has done.
    """

    def __init__(self, open_shard: Callable[[str, int], Iterator[bytes]]) -> None:
        self._open_shard = open_shard
        self._lock = threading.Lock()
        self._next: tuple[str, int] | None = None
        self._records: Iterator[bytes] = iter(())

    def dataset(self, path: tf.Tensor, start: tf.Tensor, count: tf.Tensor) -> Any:
        """A tf.data.Dataset of at most `count` records of a file from `start` on."""
        import tensorflow as tf

        def block(number: tf.Tensor) -> tf.data.Dataset:
            size = tf.minimum(count - number * _RECORDS, _RECORDS)
            records = tf.numpy_function(self._read, [path, start + number * _RECORDS, size], tf.string)
            return tf.data.Dataset.from_tensor_slices(tf.ensure_shape(records, [None]))

        return tf.data.Dataset.range(-(-count // _RECORDS)).flat_map(block)

    def _read(self, path: bytes, start: np.int64, count: np.int64) -> np.ndarray:
        """Records, object [count] or fewer where the file ends."""
        name, first = path.decode(), int(start)
        with self._lock:
            if self._next != (name, first):
                self._records = self._open_shard(name, first)
            self._next = None  # until the block is whole
            records = list(islice(self._records, int(count)))
            self._next = name, first + len(records)
        block = np.empty(len(records), object)
        block[:] = records
        return block
