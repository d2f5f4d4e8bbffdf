"""Rows of sequences: several examples in a row, or one, padded to a length when they are read (T5, section 3.1.1)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from scalecli.data.order import shuffled_index
from scalecli.data.text.pieces import PAD

if TYPE_CHECKING:
    import tensorflow as tf

_OPEN_ROWS = 1_000  # how many of the last rows packing looks at for room
_PACKING_EPOCH = -1  # the order in which examples are packed is that of an epoch that never comes


@dataclass(frozen=True)
class Rows:
    """Rows of sequences, end to end in flat arrays: row r is [starts[r], starts[r + 1]) of each."""

    tokens: np.ndarray  # int32 [tokens of all rows]
    segments: np.ndarray  # int32 [tokens of all rows]: the number, from 1, of the sequence in its row
    starts: np.ndarray  # int64 [rows + 1]

    @classmethod
    def of(cls, rows: Sequence[Sequence[np.ndarray]]) -> Rows:
        """Rows of sequences, each int32 [tokens]."""
        flat = [(sequence, number) for row in rows for number, sequence in enumerate(row, start=1)]
        empty = np.zeros(0, np.int32)
        return cls(
            np.concatenate([empty, *(sequence for sequence, _ in flat)]),
            np.concatenate([empty, *(np.full(len(sequence), number, np.int32) for sequence, number in flat)]),
            np.cumsum([0, *(sum(map(len, row)) for row in rows)], dtype=np.int64),
        )

    def padded_length(self, most: int, multiple: int) -> int:
        """The length that rows are padded to: the multiple that the longest one fits in, or `most` if that is less."""
        longest = int(np.diff(self.starts).max())
        return min(most, -(-longest // multiple) * multiple)

    def reader(self, length: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """A function in the graph from a row's index to its tokens and segments, padded to [length]."""
        import tensorflow as tf

        with tf.device("CPU"):
            flat = tf.constant(np.stack([self.tokens, self.segments]))  # [2, tokens of all rows]
            starts = tf.constant(self.starts)

        def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            row = flat[:, starts[index] : starts[index + 1]]
            row = tf.pad(row, [[0, 0], [0, length - tf.shape(row)[1]]], constant_values=PAD)
            return tuple(tf.unstack(tf.ensure_shape(row, [2, length])))

        return read


def pack(sizes: np.ndarray, room: np.ndarray, seed: int) -> list[list[int]]:
    """Rows of example numbers so that no row takes more than `room`, [2]: first fit, in an order by the seed.

    `sizes` [examples, 2] are the tokens of each example's inputs and targets, none more than the room.
    """
    count = len(sizes)
    order = shuffled_index(np.arange(count, dtype=np.int64) + _PACKING_EPOCH * count, count, seed).numpy()
    free = np.tile(room.astype(np.int64), (count, 1))  # room left in each row; a row for each example is enough
    rows: list[list[int]] = []
    first_open = 0  # the rows before it are full, or have been passed over often enough
    for n in order.tolist():
        row = first_open + int(np.argmax((free[first_open : len(rows) + 1] >= sizes[n]).all(axis=1)))
        if row == len(rows):
            rows.append([])
        rows[row].append(n)
        free[row] -= sizes[n]
        while first_open < len(rows) and free[first_open].min() < 1:
            first_open += 1
        first_open = max(first_open, len(rows) - _OPEN_ROWS)  # else the time grows with the square of the examples
    return rows
