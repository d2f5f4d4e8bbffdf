"""Training steps on JAX, on a mesh of devices."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import keras
import numpy as np
from jax import numpy as jnp

from scalecli.devices.jax import JaxDevices
from scalecli.models.dropout import fold_seed
from scalecli.models.trainable import Arrays, Trainable
from scalecli.training.objective import LossReport, part_loss, part_of, target_count
from scalecli.training.records import StepMetrics

Values = list[Any]


class JaxSteps:
    """See `TrainingSteps`. Steps are sent to the devices one after another, and waited for at the end of a call."""

    def __init__(
        self,
        devices: JaxDevices,
        model: Trainable,
        optimizer: keras.optimizers.Optimizer,
        *,
        seed: int,
        z_loss: float,
        accumulation: int,
    ) -> None:
        self._model, self._optimizer = model, optimizer
        self._seed, self._z_loss, self._accumulation = seed, z_loss, accumulation
        self._shardings = [[devices.sharding(variable) for variable in group] for group in self._variables]
        self._row_sharding = devices.row_sharding
        # Each step's variables take the place of the last one's, and stay where they are.
        self.step = jax.jit(self._step, donate_argnums=(0, 1), out_shardings=(*self._shardings, None))

    @property
    def _variables(self) -> tuple[Values, Values]:
        return self._model.trainable_variables, self._optimizer.variables

    def run(self, batches: Iterator[Arrays], count: int) -> StepMetrics:
        """`count` steps; returns each one's figures."""
        # What was restored or newly made may be laid out alike and say so otherwise, which would compile a second time.
        values = [[variable.value for variable in group] for group in self._variables]
        weights, state = jax.device_put(values, self._shardings)
        steps, waits = [], []
        for _ in range(count):
            start = time.perf_counter()
            batch = next(batches)
            waits.append(time.perf_counter() - start)
            weights, state, figures = self.step(weights, state, batch)
            steps.append(figures)
        for variables, values in zip(self._variables, (weights, state), strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        losses, norms, reports = jax.tree.map(lambda *figures: np.stack(figures), *jax.device_get(steps))
        return StepMetrics(losses, norms, np.array(waits, np.float32), reports)

    def lowered(self, batch: Mapping[str, tuple[tuple[int, ...], str]]) -> Any:
        """The `jax.stages.Lowered` step, of arrays of these shapes and dtypes; it takes no values of variables."""

        def planned(shape: tuple[int, ...], dtype: str, sharding: Any) -> Any:
            return jax.ShapeDtypeStruct(shape, dtype, sharding=sharding)

        variables = [
            [
                planned(variable.shape, variable.dtype, sharding)
                for variable, sharding in zip(group, shardings, strict=True)
            ]
            for group, shardings in zip(self._variables, self._shardings, strict=True)
        ]
        rows = {name: planned(*array, self._row_sharding) for name, array in batch.items()}
        return self.step.lower(*variables, rows)

    def _step(self, weights: Values, state: Values, batch: Arrays) -> tuple[Values, Values, tuple[Any, ...]]:
        """One step; returns the weights and state after it, its loss, the norm of its gradient, and the reports."""
        iterations = state[
            next(n for n, variable in enumerate(self._variables[1]) if variable is self._optimizer.iterations)
        ]
        seed, targets = fold_seed(jnp.int32(self._seed), iterations), target_count(self._model, batch)
        if self._accumulation == 1:
            gradients, shown = self._part(weights, batch, targets, fold_seed(seed, 0))
        else:
            gradients, shown = self._accumulated(weights, batch, targets, seed)
        norm = jnp.sqrt(sum(jnp.sum(jnp.square(gradient)) for gradient in gradients))
        weights, state = self._optimizer.stateless_apply(state, gradients, weights)
        return weights, state, (shown.loss, norm, shown.reports)

    def _accumulated(self, weights: Values, batch: Arrays, targets: Any, seed: Any) -> tuple[Values, LossReport]:
        """The sum over the parts of what `_part` returns."""

        def part(number: Any) -> tuple[Values, LossReport]:
            return self._part(weights, part_of(batch, number, self._accumulation), targets, fold_seed(seed, number))

        def add(total: Any, number: Any) -> tuple[Any, None]:
            return jax.tree.map(jnp.add, total, part(number)), None

        blank = jax.tree.map(lambda total: jnp.zeros(total.shape, total.dtype), jax.eval_shape(part, jnp.int32(0)))
        total, _ = jax.lax.scan(add, blank, jnp.arange(self._accumulation, dtype=jnp.int32))
        return total

    def _part(self, weights: Values, batch: Arrays, targets: Any, seed: Any) -> tuple[Values, LossReport]:
        """What one part adds to the gradients and to what is shown."""

        def loss(weights: Values) -> tuple[Any, LossReport]:
            mapping = list(zip(self._model.trainable_variables, weights, strict=True))
            with keras.StatelessScope(state_mapping=mapping):
                return part_loss(
                    self._model, batch, seed, targets=targets, parts=self._accumulation, z_loss=self._z_loss
                )

        gradients, shown = jax.grad(loss, has_aux=True)(weights)
        return gradients, shown
