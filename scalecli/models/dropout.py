"""Dropout whose masks are a pure function of a seed: no hidden state, so that a resumed run draws the same masks.

The mask is a hash of (seed, number of the layer, element) in 32-bit integers. That is the same on every backend,
compiles to a handful of element-wise operations (a stateful generator's dropout dominates compile time on TPU), and
partitions freely.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

from keras import ops

# Multipliers of a 32-bit integer hash with low bias (C. Wellons, "lowbias32"), as signed integers.
_MULTIPLIERS = (0x7FEB352D, 0x846CA68B - 2**32)
_SHIFTS = (16, 15)
_WEYL = 0x9E3779B9 - 2**32  # 2^32 divided by the golden ratio: spreads consecutive numbers


def _shift_right(x: Any, bits: int) -> Any:
    """Logical shift of int32; backends shift arithmetically."""
    return ops.bitwise_and(ops.right_shift(x, bits), (1 << (32 - bits)) - 1)


def _hash(x: Any) -> Any:
    """A bijection of int32 whose every output bit depends on every input bit; products wrap around."""
    for multiplier, shift in zip(_MULTIPLIERS, _SHIFTS, strict=True):
        x = ops.bitwise_xor(x, _shift_right(x, shift)) * ops.cast(multiplier, "int32")
    return ops.bitwise_xor(x, _shift_right(x, 16))


def _hash_number(x: int) -> int:
    """`_hash` of a number that is known while the program is made, which spares the program its operations."""
    for multiplier, shift in zip(_MULTIPLIERS, _SHIFTS, strict=True):
        x %= 2**32
        x = (x ^ x >> shift) * multiplier
    x %= 2**32
    x ^= x >> 16
    return x - 2**32 if x >= 2**31 else x


def fold_seed(seed: Any, number: Any) -> Any:
    """A seed (int32 scalar) derived from a seed and a number, such as that of a step or a layer."""
    if isinstance(number, int):
        return _hash(seed + ops.cast(_hash_number(number * _WEYL + _WEYL), "int32"))
    return _hash(seed + _hash(ops.cast(number, "int32") * ops.cast(_WEYL, "int32") + ops.cast(_WEYL, "int32")))


@dataclass(frozen=True)
class Dropout:
    """Dropout in one layer: `rate`, and the int32 scalar `seed` (None in evaluation).

    `unfolded` numbers are still to be folded into the seed: at rate 0 few parts draw from it, and most never hash it.
    """

    rate: float
    seed: Any = None
    unfolded: tuple[Any, ...] = ()

    @property
    def training(self) -> bool:
        """Whether this is training, with noise if not with dropout."""
        return self.seed is not None

    @property
    def active(self) -> bool:
        """Whether anything is dropped at all."""
        return self.training and self.rate > 0

    def at(self, number: Any) -> Dropout:
        """Dropout with masks of its own, for the part of this layer with that number."""
        if not self.training:
            return self
        if not self.active:
            return Dropout(self.rate, self.seed, (*self.unfolded, number))
        return Dropout(self.rate, fold_seed(self.seed, number))

    def noise(self, shape: tuple[int, ...]) -> Any:
        """Uniform float32 numbers from 0 to 1, one for each element of `shape`; only in training."""
        return ops.cast(self._bits(shape), "float32") * 2.0**-31

    def _bits(self, shape: tuple[int, ...]) -> Any:
        """31 random bits for each element of `shape`, as int32."""
        seed = functools.reduce(fold_seed, self.unfolded, self.seed)
        bits = _hash(ops.arange(math.prod(shape), dtype="int32") * ops.cast(_WEYL, "int32") + seed)
        return ops.reshape(_shift_right(bits, 1), shape)

    def __call__(self, x: Any) -> Any:
        """`x` [batch, ..., length, width] with some of (batch, ..., width) zeroed and the rest scaled up.

        One mask serves all positions of the second-to-last axis, the sequence, as in T5.
        """
        if not self.active:
            return x
        kept = self._bits((*x.shape[:-2], 1, x.shape[-1])) >= int(self.rate * 2**31)
        return x * (ops.cast(kept, x.dtype) / (1 - self.rate))
