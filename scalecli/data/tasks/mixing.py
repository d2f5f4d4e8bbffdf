"""How often each task of a mixture is drawn (T5, section 3.5.2)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from scalecli.errors import ConfigurationError, nearest

CAP = 2**19


@dataclass(frozen=True)
class Mixing:
    """How often tasks are drawn: by their `weights`, else by numbers of examples, each at most `cap`.

    Both are taken to the power of 1 / `temperature`: 1 leaves them, infinity makes all tasks equal.

    Raises:
        ConfigurationError: a value that can't be.
    """

    weights: Mapping[str, float] | None = None
    cap: int = CAP
    temperature: float = 1.0

    def __post_init__(self) -> None:
        if self.cap < 1:
            raise ConfigurationError(f"mixing cap is {self.cap}; 1 or more is accepted")
        if not self.temperature > 0:
            raise ConfigurationError(f"mixing temperature is {self.temperature}; more than 0 is accepted")
        for task, weight in (self.weights or {}).items():
            if not 0 < weight < math.inf:
                raise ConfigurationError(f"mixing weight of {task} is {weight}; a number above 0 is accepted")

    def rates(self, examples: Mapping[str, int]) -> dict[str, float]:
        """The share of each task, given the number of its training examples; they add up to 1.

        Raises:
            ConfigurationError: the weights are not those of these tasks.
        """
        sizes: Mapping[str, float] = {task: min(count, self.cap) for task, count in examples.items()}
        if self.weights is not None:
            for task in (*self.weights, *examples):
                if task not in examples:
                    raise ConfigurationError(
                        f"mixing weight of {task}: no task of this mixture{nearest(task, examples)}"
                    )
                if task not in self.weights:
                    raise ConfigurationError(f"mixing weights: none for {task}")
            sizes = {task: self.weights[task] for task in examples}
        largest = max(sizes.values())
        powers = {task: (size / largest) ** (1 / self.temperature) for task, size in sizes.items()}
        return {task: power / math.fsum(powers.values()) for task, power in powers.items()}
