"""Mixtures of tasks: which task, and which of its rows, stands at each position of training.

What stands at position n of training, step * batch + row of the batch, is a function of (seed, n). A turn of 2^20
positions has each task as often as its rate says, in an order that the seed shuffles. So the number of whole turns and
one look into a turn say which task stands at a position, and how many of its rows came before. A task's own rows come
epoch after epoch, each epoch a permutation of its own. A run resumes at any step without reading those before, and
meets no row of a task again before it has met all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalecli.data.order import shuffled_index

if TYPE_CHECKING:
    import tensorflow as tf

_TURN = 1 << 20  # the rarest of the 17 tasks stands in it some 200 times: its rate is exact to 0.3%


@dataclass(frozen=True)
class Turns:
    """One turn of a mixture: which task stands at each position, and how many of its positions come before.

    `counts` are the positions of each task in a turn.
    """

    tasks: np.ndarray  # int32 [positions]
    before: np.ndarray  # int32 [positions]
    counts: np.ndarray  # int64 [tasks]

    @classmethod
    def of(cls, rates: Sequence[float], seed: int) -> Turns:
        """The turn of tasks 0, 1 ... with these rates, which add up to 1."""
        counts = _apportioned(np.asarray(rates), _TURN)
        order = shuffled_index(np.arange(_TURN, dtype=np.int64), _TURN, seed).numpy()
        tasks = np.repeat(np.arange(len(counts), dtype=np.int32), counts)[order]
        before = np.empty(_TURN, np.int32)
        starts = np.cumsum(counts) - counts
        before[np.argsort(tasks, kind="stable")] = np.arange(_TURN) - np.repeat(starts, counts)
        return cls(tasks, before, counts)

    def reader(self, rows: Sequence[int], seed: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """A function in the graph from position n to its task and the row of that task, both int64 [].

        `rows` [tasks] are how many rows each task has.
        """
        import tensorflow as tf

        with tf.device("CPU"):
            tasks, before = tf.constant(self.tasks), tf.constant(self.before)
            counts, sizes = tf.constant(self.counts), tf.constant(rows, tf.int64)

        def read(n: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            turn, position = n // _TURN, n % _TURN
            task = tasks[position]
            drawn = turn * counts[task] + tf.cast(before[position], tf.int64)
            return tf.cast(task, tf.int64), shuffled_index(drawn, sizes[task], seed)

        return read


def _apportioned(rates: np.ndarray, total: int) -> np.ndarray:
    """Whole numbers of at least 1 in the proportion of the rates, int64, that add up to `total`.

    What rounding leaves goes to the largest remainders, and what ones take that are rounded up comes off the largest.
    """
    shares = rates * total
    counts = np.maximum(np.floor(shares).astype(np.int64), 1)
    missing = total - int(counts.sum())
    if missing > 0:
        counts[np.argsort(np.floor(shares) - shares, kind="stable")[:missing]] += 1
    elif missing:
        counts[np.argmax(counts)] += missing
    return counts
