"""Batches for finetuning and evaluation, text to text: padded to a length, or several examples packed in a row.

A batch is a function of (seed, step), as in pretraining. Sequences are cut to length first, then the end of sequence is
appended, so every one ends with it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalecli.data.span_corruption import shuffled_index
from scalecli.data.tasks import Example
from scalecli.data.vocabulary import EOS, PAD, Vocabulary
from scalecli.errors import MissingError

if TYPE_CHECKING:
    import tensorflow as tf

_OPEN_ROWS = 1_000  # how many of the last rows packing looks at for room
_PACKING_EPOCH = -1  # the order in which examples are packed is that of an epoch that never comes


@dataclass(frozen=True)
class _Rows:
    """Rows of sequences, end to end in flat arrays: row r is [starts[r], starts[r + 1]) of each."""

    tokens: np.ndarray  # int32 [tokens of all rows]
    segments: np.ndarray  # int32 [tokens of all rows]: the number, from 1, of the sequence in its row
    starts: np.ndarray  # int64 [rows + 1]

    @classmethod
    def of(cls, rows: Sequence[Sequence[np.ndarray]]) -> _Rows:
        """Returns rows of sequences, each int32 [tokens]."""
        flat = [(sequence, number) for row in rows for number, sequence in enumerate(row, start=1)]
        empty = np.zeros(0, np.int32)
        return cls(
            np.concatenate([empty, *(sequence for sequence, _ in flat)]),
            np.concatenate([empty, *(np.full(len(sequence), number, np.int32) for sequence, number in flat)]),
            np.cumsum([0, *(sum(map(len, row)) for row in rows)], dtype=np.int64),
        )

    def reader(self, length: int) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        """Returns a function in the graph from a row's index to its tokens and segments, padded to [length]."""
        import tensorflow as tf

        with tf.device("CPU"):
            flat = tf.constant(np.stack([self.tokens, self.segments]))  # [2, tokens of all rows]
            starts = tf.constant(self.starts)

        def read(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            row = flat[:, starts[index] : starts[index + 1]]
            row = tf.pad(row, [[0, 0], [0, length - tf.shape(row)[1]]], constant_values=PAD)
            return tuple(tf.unstack(tf.ensure_shape(row, [2, length])))

        return read


def finetuning_batches(
    examples: Sequence[Example],
    vocabulary: Vocabulary,
    *,
    inputs_length: int,
    targets_length: int,
    batch: int,
    seed: int,
    start_step: int = 0,
    packed: bool = False,
) -> tuple[Any, int]:
    """Returns an endless tf.data.Dataset of training batches from `start_step` on, and the rows of an epoch.

    A batch has int32 "inputs" [batch, inputs_length] and "targets" [batch, targets_length]; when packed, a row holds
    several examples, and "inputs_segments" and "targets_segments", of the same shapes, number them from 1 with 0 for
    padding. Examples are packed once, each into the first row that has room, in an order that the seed gives; rows
    change places from epoch to epoch. Raises MissingError when there are no examples.
    """
    import tensorflow as tf

    if not examples:
        raise MissingError("no examples to finetune on")
    inputs = [_sequence(vocabulary, example.input, inputs_length) for example in examples]
    targets = [_sequence(vocabulary, example.target, targets_length) for example in examples]
    rows = [[n] for n in range(len(examples))]
    if packed:
        sizes = np.array([[len(a), len(b)] for a, b in zip(inputs, targets, strict=True)])
        rows = _pack(sizes, np.array([inputs_length, targets_length]), seed)
    read_inputs = _Rows.of([[inputs[n] for n in row] for row in rows]).reader(inputs_length)
    read_targets = _Rows.of([[targets[n] for n in row] for row in rows]).reader(targets_length)

    def build(n: tf.Tensor) -> dict[str, tf.Tensor]:
        index = shuffled_index(n, len(rows), seed)
        row: dict[str, tf.Tensor] = {}
        row["inputs"], inputs_segments = read_inputs(index)
        row["targets"], targets_segments = read_targets(index)
        return row | {"inputs_segments": inputs_segments, "targets_segments": targets_segments} if packed else row

    dataset = tf.data.Dataset.range(start_step * batch, np.iinfo(np.int64).max)
    return _batches(dataset.map(build, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True), batch), len(rows)


def evaluation_batches(examples: Sequence[Example], vocabulary: Vocabulary, *, inputs_length: int, batch: int) -> Any:
    """Returns a tf.data.Dataset of {"inputs": int32 [batch, inputs_length]}: all examples once, in order.

    The last batch is filled up with empty rows, so that all have one shape. Raises MissingError without examples.
    """
    import tensorflow as tf

    if not examples:
        raise MissingError("no examples to evaluate")
    rows = [[_sequence(vocabulary, example.input, inputs_length)] for example in examples]
    rows += [[]] * (-len(examples) % batch)
    read = _Rows.of(rows).reader(inputs_length)
    dataset = tf.data.Dataset.range(len(rows)).map(lambda index: {"inputs": read(index)[0]})
    return _batches(dataset, batch)


def _batches(rows: Any, batch: int) -> Any:
    import tensorflow as tf

    return rows.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def _sequence(vocabulary: Vocabulary, text: str, length: int) -> np.ndarray:
    """Returns a text's ids, int32 [at most length], cut and then ended."""
    return np.array([*vocabulary.encode(text)[: length - 1], EOS], np.int32)


def _pack(sizes: np.ndarray, room: np.ndarray, seed: int) -> list[list[int]]:
    """Returns rows of example numbers so that no row takes more than `room`, [2]: first fit, in an order by the seed.

    `sizes` [examples, 2] are the tokens of each example's inputs and targets, none more than the room.
    """
    count = len(sizes)
    order = shuffled_index(np.arange(count, dtype=np.int64) + _PACKING_EPOCH * count, count, seed).numpy()
    free = np.tile(room.astype(np.int64), (count, 1))  # room left in each row; a row for each example is enough
    rows: list[list[int]] = []
    first_open = 0  # the rows before it are full, or have been passed over often enough
    for n in order.tolist():
        place = first_open + int(np.argmax((free[first_open : len(rows) + 1] >= sizes[n]).all(axis=1)))
        if place == len(rows):
            rows.append([])
        rows[place].append(n)
        free[place] -= sizes[n]
        while first_open < len(rows) and free[first_open].min() < 1:
            first_open += 1
        first_open = max(first_open, len(rows) - _OPEN_ROWS)  # else the time grows with the square of the examples
    return rows
