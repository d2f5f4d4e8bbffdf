"""Learning-rate schedules: what the optimizer's step size is at each step."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

ScheduleName = Literal["inverse-square-root", "constant", "linear", "cosine"]
SCHEDULES: tuple[ScheduleName, ...] = get_args(ScheduleName)


@dataclass(frozen=True)
class Schedule:
    """A schedule: its highest rate, its warm-up in steps, and the step where linear and cosine decay reach zero.

    inverse-square-root: learning_rate until `warmup`, then learning_rate * sqrt(warmup / step); 0.01 with 10,000 is
        the papers' 1 / sqrt(max(step, 10^4)) (Scale Efficiently, section 3).
    constant: learning_rate always, after a linear rise over `warmup` steps.
    linear, cosine: a linear rise over `warmup` steps, then a straight line or half a cosine to zero at `steps`.
    """

    name: ScheduleName
    learning_rate: float
    warmup: int
    steps: int

    def rate(self, step: Any) -> Any:
        """The learning rate (float32 scalar) at `step` (integer scalar, from 0)."""
        from keras import ops  # here, so that a plan can be made without a backend

        step = ops.cast(step, "float32")
        if self.name == "inverse-square-root":
            warmup = float(max(self.warmup, 1))
            return self.learning_rate * math.sqrt(warmup) * ops.rsqrt(ops.maximum(step, warmup))
        rise = ops.minimum(1.0, (step + 1.0) / (self.warmup + 1.0))
        progress = ops.clip((step - self.warmup) / max(self.steps - self.warmup, 1), 0.0, 1.0)
        fall: Any = {
            "constant": 1.0,
            "linear": 1.0 - progress,
            "cosine": 0.5 + 0.5 * ops.cos(math.pi * progress),
        }[self.name]
        return self.learning_rate * rise * fall
