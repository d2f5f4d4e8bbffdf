"""The optimizers that a run may have: T5's Adafactor, or AdamW, as vision transformers are often trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from scalecli.costs.memory import Optimizer
from scalecli.training.optimizers.adafactor import Adafactor
from scalecli.training.schedules import Schedule


class KerasSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A `Schedule` as Keras optimizers take it."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __call__(self, step: Any) -> Any:
        """The learning rate at `step`."""
        return self.schedule.rate(step)


class AdamW(keras.optimizers.AdamW):
    """Keras' AdamW (Loshchilov and Hutter 2019, Algorithm 2), whose weight decay leaves all but matrices alone."""

    def build(self, variables: list[Any]) -> None:
        """Makes both moments of each variable, of its shape."""
        if self.built:
            return
        vectors = [variable for variable in variables if len(variable.shape) - getattr(variable, "stacked", False) < 2]
        self.exclude_from_weight_decay(var_list=vectors)
        super().build(variables)

    def state_by_path(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """The variables that a checkpoint must hold: the step, and each weight's moments by the weight's path."""
        state = {"iterations": self.iterations}
        for path, weight in weights.items():
            index = self._get_variable_index(weight)
            state |= {f"{path}/momentum": self._momentums[index], f"{path}/velocity": self._velocities[index]}
        return state

    def _all_reduce_sum_gradients(self, gradients_and_variables: Any) -> Any:
        """Keras' hook on TensorFlow: here gradients come added up, since their norm must be known before."""
        return gradients_and_variables


def new_optimizer(name: Optimizer, schedule: Schedule, weight_decay: float) -> Any:
    """The Keras optimizer of that name; Adafactor has no weight decay."""
    rate = KerasSchedule(schedule)
    return AdamW(rate, weight_decay=weight_decay) if name == "adamw" else Adafactor(rate)
