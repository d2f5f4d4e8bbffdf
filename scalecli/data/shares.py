"""Which examples of every batch one host reads, where several train one model together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Share:
    """A host's examples of every batch: the `host`-th of `hosts` equal stretches, given in `pieces` equal pieces."""

    host: int = 0
    hosts: int = 1
    pieces: int = 1

    def piece(self, batch: int) -> int:
        """Returns how many examples a piece has."""
        return batch // self.hosts // self.pieces

    def numbers(self, start_step: int, batch: int) -> Any:
        """Returns an endless tf.data.Dataset of the numbers of these examples, int64 scalars, from `start_step` on."""
        import tensorflow as tf

        size = batch // self.hosts
        numbers = tf.data.Dataset.range(start_step * size, np.iinfo(np.int64).max)
        if self.hosts == 1:
            return numbers
        return numbers.map(lambda n: n // size * batch + self.host * size + n % size)

    def has(self, number: Any, batch: int) -> Any:
        """Returns whether the example of this number, an int64 tensor, is one of them."""
        size = batch // self.hosts
        return number % batch // size == self.host


WHOLE = Share()
