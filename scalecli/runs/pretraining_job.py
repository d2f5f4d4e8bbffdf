"""The settings of a pretraining run, on text or on images."""

from __future__ import annotations

import abc
from dataclasses import dataclass

from scalecli.errors import ConfigurationError
from scalecli.references import ModelReference
from scalecli.runs.trained import Trained, open_trained
from scalecli.runs.training import TrainingJob
from scalecli.shape import Shape


@dataclass(frozen=True, kw_only=True)
class PretrainingJob(TrainingJob):
    """A model to pretrain.

    `validation_examples` is how many held-out examples are measured, or all if there are fewer. With `keep_optimizer` a
    run that is the start gives its step and its optimizer's state as well.
    """

    kind = "pretrain"
    model: ModelReference
    validation_examples: int
    keep_optimizer: bool = False

    def __post_init__(self) -> None:
        if self.validation_examples < 1:
            raise ConfigurationError(f"validation_examples is {self.validation_examples}; 1 or more is accepted")

    @property
    @abc.abstractmethod
    def source_name(self) -> str:
        """The name of the data, for messages."""

    @abc.abstractmethod
    def lengths(self) -> tuple[int, int]:
        """Positions of an example's inputs and of its targets."""

    @abc.abstractmethod
    def check_source(self) -> None:
        """Checks that the data is there. Raises MissingError, or ConfigurationError for data of the wrong kind."""

    @abc.abstractmethod
    def planned_shape(self) -> Shape:
        """The shape that the run will have, as its data asks for; without TensorFlow.

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
        found = self.initial() if self.keep_optimizer else None
        if found is not None:
            found.check_optimizer(self.recipe.optimizer)
        return found
