"""The order of training: each epoch is a permutation of its own, and each host reads its share of every batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import tensorflow as tf


def shuffled_index(n: tf.Tensor, count: int | tf.Tensor, seed: int) -> tf.Tensor:
    """Which of `count` items is the n-th of training, int64 in the shape of `n`, [] or [any].

    Each epoch, `count` values of n, is a permutation of its own; n of several epochs must not be mixed in one vector.
    """
    import tensorflow as tf

    n = tf.convert_to_tensor(n, tf.int64)
    epoch = tf.reshape(n, [-1])[0] // count
    return tf.random.experimental.index_shuffle(
        n % count, tf.stack([tf.constant(seed, tf.int64), epoch]), tf.cast(count, tf.int64) - 1
    )


@dataclass(frozen=True)
class HostShare:
    """A host's examples of every batch: the `host`-th of `hosts` equal stretches, given in `pieces` equal pieces."""

    host: int = 0
    hosts: int = 1
    pieces: int = 1

    def piece(self, batch: int) -> int:
        """How many examples a piece has."""
        return batch // self.hosts // self.pieces

    def numbers(self, start_step: int, batch: int) -> Any:
        """An endless tf.data.Dataset of the numbers of these examples, int64 scalars, from `start_step` on."""
        import tensorflow as tf

        size = batch // self.hosts
        numbers = tf.data.Dataset.range(start_step * size, np.iinfo(np.int64).max)
        if self.hosts == 1:
            return numbers
        return numbers.map(lambda n: n // size * batch + self.host * size + n % size)

    def has(self, number: Any, batch: int) -> Any:
        """Whether the example of this number, an int64 tensor, is one of them."""
        size = batch // self.hosts
        return number % batch // size == self.host


WHOLE = HostShare()
