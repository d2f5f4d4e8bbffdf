"""Batches for finetuning and evaluation, text to text: tasks mixed at their rates, padded or packed; inputs in buckets.

A batch of training is a function of (seed, step), as in pretraining. Sequences are cut to length first, then the end of
sequence is appended, so every one ends with it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from scalecli.data.order import WHOLE, HostShare
from scalecli.data.sources import OnWork, silent
from scalecli.data.tasks.mixtures import Turns
from scalecli.data.tasks.packing import Rows, pack
from scalecli.data.tasks.task import Example
from scalecli.data.text.pieces import EOS, PAD
from scalecli.data.text.vocabulary import Vocabulary, unknown_share
from scalecli.errors import MissingError

if TYPE_CHECKING:
    import tensorflow as tf

_SHORTEST_BUCKET = 64
_MULTIPLES = (64, 8)  # rows of training have inputs and targets of such lengths, or of the most that they may have
_TEXTS_BETWEEN_REPORTS = 256


@dataclass(frozen=True)
class Encoded:
    """A task's examples as ids, int32 [at most the length] each, and how many were cut to the lengths."""

    inputs: list[np.ndarray]
    targets: list[np.ndarray]
    inputs_cut: int
    targets_cut: int

    @classmethod
    def of(
        cls, examples: Sequence[Example], vocabulary: Vocabulary, lengths: tuple[int, int], on_work: OnWork = silent
    ) -> Encoded:
        """Examples, whose inputs and targets are cut to these lengths and ended.

        Raises:
            MissingError: there are none.
        """
        if not examples:
            raise MissingError("no examples to finetune on")
        inputs, inputs_cut = encode([example.input for example in examples], vocabulary, lengths[0], on_work)
        targets, targets_cut = encode([example.target for example in examples], vocabulary, lengths[1], on_work)
        return cls(inputs, targets, inputs_cut, targets_cut)

    @property
    def sequences(self) -> list[np.ndarray]:
        """Inputs and targets."""
        return [*self.inputs, *self.targets]


class FinetuningBatches:
    """Training batches of a mixture of tasks.

    A batch has int32 "inputs" [batch, inputs_length] and "targets" [batch, targets_length]; when packed, a row holds
    several examples of a task, and "inputs_segments" and "targets_segments", of the same shapes, number them from 1
    with 0 for padding. Examples are packed once, each into the first row that has room, in an order that the seed
    gives; a task's rows are shuffled anew every epoch. `lengths` are the tokens of a batch's inputs and targets: no
    more than the longest row of all needs. `unknown` is the share of the tokens that are unknown.
    """

    def __init__(
        self,
        tasks: Mapping[str, Encoded],
        rates: Mapping[str, float],
        lengths: tuple[int, int],
        *,
        batch: int,
        seed: int,
        packed: bool,
        pooled: int = 1,
    ) -> None:
        """`rates` are the shares of the tasks among examples; those among rows follow from the examples of a row.

        No row gets longer than `lengths`. The encoder takes inputs whose lengths are multiples of `pooled`.
        """
        self.names = list(tasks)
        self.unknown = unknown_share(ids for task in tasks.values() for ids in task.sequences)
        self._batch, self._seed, self._packed = batch, seed, packed
        inputs: list[list[np.ndarray]] = []
        targets: list[list[np.ndarray]] = []
        self.rows: dict[str, int] = {}
        for name, task in tasks.items():
            rows = [[n] for n in range(len(task.inputs))]
            if packed:
                tokens = np.array([[len(a), len(b)] for a, b in zip(task.inputs, task.targets, strict=True)])
                rows = pack(tokens, np.array(lengths), seed)
            inputs += [[task.inputs[n] for n in row] for row in rows]
            targets += [[task.targets[n] for n in row] for row in rows]
            self.rows[name] = len(rows)
        input_rows, target_rows = Rows.of(inputs), Rows.of(targets)
        self.lengths = (
            input_rows.padded_length(lengths[0], math.lcm(_MULTIPLES[0], pooled)),
            target_rows.padded_length(lengths[1], _MULTIPLES[1]),
        )
        self._read_inputs = input_rows.reader(self.lengths[0])
        self._read_targets = target_rows.reader(self.lengths[1])
        row_rates = np.array([rates[name] * self.rows[name] / len(tasks[name].inputs) for name in self.names])
        sizes = list(self.rows.values())
        self._task_and_row = Turns.of(row_rates / row_rates.sum(), seed).reader(sizes, seed)
        self._first_rows = np.cumsum([0, *sizes[:-1]], dtype=np.int64)

    def __call__(self, start_step: int = 0, share: HostShare = WHOLE) -> Any:
        """An endless tf.data.Dataset of batches, or a host's share of them, from `start_step` on."""
        return self._dataset(start_step, share, self._row)

    def named(self) -> Any:
        """The same from the beginning, with "task", the index [batch] of each row's task in `names`."""
        return self._dataset(0, WHOLE, lambda n: {**self._row(n), "task": self._task_and_row(n)[0]})

    def _dataset(self, start_step: int, share: HostShare, row: Any) -> Any:
        import tensorflow as tf

        rows = share.numbers(start_step, self._batch)
        rows = rows.map(row, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return rows.batch(share.piece(self._batch), drop_remainder=True).prefetch(tf.data.AUTOTUNE)

    def _row(self, n: tf.Tensor) -> dict[str, tf.Tensor]:
        import tensorflow as tf

        task, row_of_task = self._task_and_row(n)
        index = tf.constant(self._first_rows)[task] + row_of_task
        row: dict[str, tf.Tensor] = {}
        row["inputs"], inputs_segments = self._read_inputs(index)
        row["targets"], targets_segments = self._read_targets(index)
        if self._packed:
            row |= {"inputs_segments": inputs_segments, "targets_segments": targets_segments}
        return row


@dataclass(frozen=True)
class EvaluationBatch:
    """Inputs [batch, bucket] of the examples with these numbers; the rows beyond them are padding."""

    numbers: np.ndarray
    inputs: np.ndarray


def evaluation_batches(
    texts: Sequence[str], vocabulary: Vocabulary, *, inputs_length: int, batch: int, on_work: OnWork = silent
) -> tuple[list[EvaluationBatch], int]:
    """Every text once, as int32 ids, the longest first so that those of a batch are about equally long.

    The length of a batch is the power of two, at least 64, that its longest text fits in, but at most `inputs_length`:
    few shapes are compiled, and none that an architecture does not take. Also returns how many texts were cut.
    """
    sequences, cut = encode(texts, vocabulary, inputs_length, on_work)
    order = sorted(range(len(sequences)), key=lambda n: -len(sequences[n]))
    batches = []
    for start in range(0, len(order), batch):
        numbers = order[start : start + batch]
        length = min(bucket(len(sequences[numbers[0]])), inputs_length)
        inputs = np.full((batch, length), PAD, np.int32)
        for row, number in enumerate(numbers):
            inputs[row, : len(sequences[number])] = sequences[number]
        batches.append(EvaluationBatch(np.array(numbers), inputs))
    return batches, cut


def bucket(length: int, shortest: int = _SHORTEST_BUCKET) -> int:
    """The power of two, or `shortest` of them, that a length fits in."""
    return max(shortest, 1 << (length - 1).bit_length())


def encode(
    texts: Sequence[str], vocabulary: Vocabulary, length: int, on_work: OnWork = silent
) -> tuple[list[np.ndarray], int]:
    """Texts' ids, int32 [at most length] each, cut and then ended, and how many of them were cut."""
    encoded, cut = [], 0
    for number, text in enumerate(texts, start=1):
        ids = vocabulary.encode(text)
        cut += len(ids) >= length
        encoded.append(np.array([*ids[: length - 1], EOS], np.int32))
        if number % _TEXTS_BETWEEN_REPORTS == 0 or number == len(texts):
            on_work(f"tokenized {number:,} of {len(texts):,} texts", number / len(texts))
    return encoded, cut
