"""T5's Adafactor: second moments factored over two axes, steps relative to the size of the weight, no momentum.

Shazeer and Stern (2018), Algorithms 4 and 8, with the settings that T5 trains with. Keras' own Adafactor keeps a
full-size second moment beside the factors, and factors over other axes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import ops

from scalecli.costs import factored_axes
from scalecli.models.compiled import materialized, uses_xla
from scalecli.models.linear_algebra import mean_along, mean_square

DECAY_EXPONENT = 0.8
CLIPPING_THRESHOLD = 1.0
EPSILON_GRADIENT = 1e-30  # added to squared gradients
EPSILON_SCALE = 1e-3  # the least root mean square that a weight is taken to have


class Adafactor(keras.optimizers.Optimizer):
    """Adafactor with T5's settings.

    A step is learning_rate * max(rms(weight), 1e-3) * update, the update being the gradient over the root of its
    second moment, scaled down to a root mean square of at most 1. Second moments decay by 1 - (step + 1)^-0.8. Weights
    whose two largest axes have 128 entries or more keep two factors of the second moment; others keep all of it.
    Statistics and arithmetic are float32, whatever the weight's dtype.

    A variable whose attribute `stacked` is true holds one weight a layer along its first axis: each layer's is then
    factored, scaled and clipped as if it stood alone.
    """

    def __init__(self, learning_rate: Any = 1e-3, name: str = "adafactor", **options: Any) -> None:
        super().__init__(learning_rate=learning_rate, name=name, **options)

    def build(self, variables: list[Any]) -> None:
        """Makes the statistics of each variable: [all axes but one] twice if factored, else [all axes]."""
        if self.built:
            return
        super().build(variables)
        # Remembered here: on TensorFlow a step sees the backend's own variable, without the attribute.
        self._leading_axes = [int(getattr(variable, "stacked", False)) for variable in variables]
        self._statistics = [
            self._new_statistics(variable, axes) for variable, axes in zip(variables, self._leading_axes, strict=True)
        ]

    def _new_statistics(self, variable: Any, leading_axes: int) -> dict[str, Any]:
        def zeros(shape: tuple[int, ...], kind: str, left_out: int | None = None) -> Any:
            name = f"{variable.path}_{kind}".replace("/", "_")
            layout = _layout_without(variable, left_out)
            return self.add_variable(shape, initializer="zeros", dtype="float32", name=name, layout=layout)

        leading, shape = tuple(variable.shape[:leading_axes]), tuple(variable.shape[leading_axes:])
        axes = factored_axes(shape)
        if axes is None:
            return {"full": zeros(leading + shape, "second_moment")}
        rows, columns = (tuple(size for axis, size in enumerate(shape) if axis != left_out) for left_out in axes)
        largest, second = (axis + leading_axes for axis in axes)
        return {
            "rows": zeros(leading + rows, "row_moment", largest),
            "columns": zeros(leading + columns, "column_moment", second),
        }

    def state_by_path(self, weights: Mapping[str, Any]) -> dict[str, Any]:
        """The variables that a checkpoint must hold: the step, and each weight's statistics by the weight's path."""
        state = {"iterations": self.iterations}
        for path, weight in weights.items():
            for kind, statistic in self._statistics[self._get_variable_index(weight)].items():
                state[f"{path}/{kind}"] = statistic
        return state

    def _all_reduce_sum_gradients(self, gradients_and_variables: Any) -> Any:
        """Keras' hook on TensorFlow: here gradients come added up, since their norm must be known before."""
        return gradients_and_variables

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One step of one variable; `gradient` has its shape."""
        step = ops.cast(self.iterations, "float32") + 1.0
        decay = 1.0 - ops.power(step, -DECAY_EXPONENT)
        gradient = ops.cast(gradient, "float32")
        weight = ops.cast(variable, "float32")
        index = self._get_variable_index(variable)
        offset, statistics = self._leading_axes[index], self._statistics[index]
        shape = tuple(variable.shape[offset:])
        one_weight = tuple(range(offset, len(variable.shape)))
        squared = ops.square(gradient)

        def updated(name: str, observed: Any) -> Any:
            moment = decay * ops.convert_to_tensor(statistics[name]) + (1.0 - decay) * (observed + EPSILON_GRADIENT)
            self.assign(statistics[name], moment)
            return moment

        axes = factored_axes(shape)
        if axes is None:
            row_factor, column_factor = ops.rsqrt(updated("full", squared)), 1.0
            update_square = ops.mean(squared * ops.square(row_factor), axis=one_weight, keepdims=True)
        else:
            largest, second = (axis + offset for axis in axes)
            rows = updated("rows", mean_along(squared, largest))
            columns = updated("columns", mean_along(squared, second))
            # In the row statistics the axes after the one left out have moved up by one.
            row_mean = ops.mean(rows, axis=second - (second > largest), keepdims=True)
            row_factor = ops.expand_dims(ops.rsqrt(rows / row_mean), largest)
            column_factor = ops.expand_dims(ops.rsqrt(columns), second)
            # XLA for GPUs would compute the means of a square weight anew for every element.
            row_factor, column_factor = materialized(row_factor, column_factor)
            if uses_xla():
                update_square = mean_square(gradient * row_factor * column_factor, one_weight)
            else:
                along = ops.expand_dims(mean_along(squared, largest, ops.square(column_factor)), largest)
                update_square = ops.mean(along * ops.square(row_factor), axis=one_weight, keepdims=True)
        clipping = ops.maximum(1.0, ops.sqrt(update_square) / CLIPPING_THRESHOLD)
        weight_scale = ops.maximum(ops.sqrt(mean_square(weight, one_weight)), EPSILON_SCALE)
        scale = ops.cast(learning_rate, "float32") * weight_scale
        (step_size,) = materialized(scale / clipping)
        update = gradient * (step_size * row_factor) * column_factor
        self.assign(variable, ops.cast(weight - update, variable.dtype))


def _layout_without(variable: Any, left_out: int | None) -> Any:
    """How a variable is laid out over devices, if it is (on JAX), but for one of its axes."""
    layout = getattr(variable, "_layout", None)
    if layout is None or left_out is None:
        return layout
    axes = [axis for number, axis in enumerate(layout.axes) if number != left_out]
    return keras.distribution.TensorLayout(axes, layout.device_mesh)
