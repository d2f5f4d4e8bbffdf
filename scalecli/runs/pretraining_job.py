"""The settings of a pretraining run, on text or on images."""

from __future__ import annotations

import abc
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scalecli.errors import ConfigurationError
from scalecli.references import ModelReference
from scalecli.runs.trained import Trained, open_trained
from scalecli.runs.training import TrainingJob
from scalecli.shape import Shape

if TYPE_CHECKING:
    from scalecli.data.images.source import ImageSource
    from scalecli.runs.text.source import TextSource


@dataclass(frozen=True, kw_only=True)
class PretrainingJob(TrainingJob):
    """A model to pretrain on the data of `source`.

    `validation_examples` is how many held-out examples are measured, or all if there are fewer. With `keep_optimizer` a
    run that is the start gives its step and its optimizer's state as well.
    """

    kind = "pretrain"
    model: ModelReference
    source: TextSource | ImageSource
    validation_examples: int
    keep_optimizer: bool = False

    def __post_init__(self) -> None:
        if self.validation_examples < 1:
            raise ConfigurationError(f"validation_examples is {self.validation_examples}; 1 or more is accepted")

    @abc.abstractmethod
    def lengths(self) -> tuple[int, int]:
        """Positions of an example's inputs and of its targets."""

    @abc.abstractmethod
    def planned_shape(self) -> Shape:
        """The shape with as many outputs as the data needs; without TensorFlow.

        Raises:
            MissingError: the data, or the checkpoint of the run to start from, is not there.
            ConfigurationError: a shape file's own figures don't go with the data.
        """

    def initial(self) -> Trained | None:
        """The run that gives its weights, or None. Raises MissingError when it has no checkpoint."""
        return open_trained(self.model.run, self.cache_directory) if self.model.run else None

    def start(self) -> Trained | None:
        """The run that gives its step and optimizer's state, or None.

        Raises:
            MissingError: it has no such state.
            ConfigurationError: it is another optimizer's.
        """
        start = self.initial() if self.keep_optimizer else None
        if start is not None:
            start.check_optimizer(self.recipe.optimizer)
        return start


def with_outputs(model: ModelReference, field: str, count: int, least: int, data: str) -> Shape:
    """The shape with `count` of what the model chooses from, its `field`, or with as many as a shape file states.

    Raises:
        ConfigurationError: the shape file states less than `least`, which the `data` need.
    """
    if not model.fixes_output_size:
        return model.shape.changed(**{field: count})
    stated = getattr(model.shape, field) or 0
    if stated < least:
        raise ConfigurationError(
            f"the shape file states {field}: {stated}, too few for {data}; leave it out, or state {count}"
        )
    return model.shape
