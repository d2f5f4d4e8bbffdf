"""What a Keras layer of your own may import, beside keras.ops; stable from now on.

`SpecLayer` says what a layer offers, `Context` what it sees of its stack. `projection` multiplies by a weight, with its
bias where there is one. `MASKED` is added to scores that must not be seen.
"""

from scalecli.models.dropout import Dropout
from scalecli.models.layers import MASKED, Context, SpecLayer, Weights
from scalecli.models.layers.base import projection

__all__ = ["MASKED", "Context", "Dropout", "SpecLayer", "Weights", "projection"]
