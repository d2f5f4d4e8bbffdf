"""What training, validation and devices need of a model, whatever it reads: text or images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from scalecli.specs import ModelSpec

Arrays = Mapping[str, Any]  # arrays whose first axis is the examples


class Losses(NamedTuple):
    """What training and validation need of a forward pass.

    `cross_entropy`, in nats, and `log_normalizer`, log Z of the softmax: float32, one for each target; padding is not
    masked. `auxiliary_loss`: float32 scalar to add to the loss. `reports`: what layers report, float32 [layers, ...] by
    paths such as `encoder/0/experts/overflow`.
    """

    cross_entropy: Any
    log_normalizer: Any
    auxiliary_loss: Any
    reports: dict[str, Any]


class Trainable(Protocol):
    """A Keras model that gives its own losses on a batch."""

    spec: ModelSpec

    @property
    def variables(self) -> list[Any]:
        """Every Keras variable."""

    @property
    def trainable_variables(self) -> list[Any]:
        """Those that the optimizer changes."""

    def losses(self, batch: Arrays, dropout_seed: Any = None) -> Losses:
        """The losses of a batch's targets, in training (with a seed, int32 scalar) or not."""

    def target_mask(self, batch: Arrays) -> Any:
        """float32 in the shape of `losses(batch).cross_entropy`: 1 for a target, 0 for padding."""

    def parts(self) -> dict[str, Any]:
        """Every layer that owns weights, by the prefix of its paths in `ModelSpec.weights()`."""

    def weights_by_path(self) -> dict[str, Any]:
        """Every variable by the path that `ModelSpec.weights()` gives it."""
