"""The one device at hand, without any strategy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from scalecli.devices import Combine
from scalecli.models.compiled import compiled
from scalecli.models.trainable import Trainable


class OneDevice:
    """See `Mapped`."""

    def mapped(self, model: Trainable, function: Callable[[Any], Any], combine: Combine) -> Callable[[Any], Any]:
        """`function` of a batch, compiled."""
        program, tree = compiled(model, function), keras.tree
        return lambda batch: tree.map_structure(np.asarray, program(tree.map_structure(ops.convert_to_tensor, batch)))


ONE_DEVICE = OneDevice()
