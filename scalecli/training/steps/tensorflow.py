"""Training steps on TensorFlow, on the replicas of a strategy."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scalecli.devices.tensorflow import TensorFlowDevices
from scalecli.models.compiled import compiled
from scalecli.models.dropout import fold_seed
from scalecli.models.trainable import Arrays, Trainable
from scalecli.training.objective import LossReport, part_loss, part_of, target_count
from scalecli.training.records import StepMetrics


class TensorFlowSteps:
    """See `TrainingSteps`. The optimizer must leave gradients as they are: they come added up over the replicas."""

    def __init__(
        self,
        devices: TensorFlowDevices,
        model: Trainable,
        optimizer: keras.optimizers.Optimizer,
        *,
        seed: int,
        z_loss: float,
        accumulation: int,
    ) -> None:
        self._model, self._optimizer = model, optimizer
        self._seed = tf.constant(seed, tf.int32)
        self._z_loss, self._accumulation, self._replicas = z_loss, accumulation, devices.replicas
        self._replica = devices.replica
        # One replica: all of the step is one program. Several: what they do between one exchange and the next is.
        alone = devices.replicas == 1
        self._gradients: Any = self._local_gradients if alone else compiled(model, self._local_gradients)
        self.step: Any = compiled(model, self._step) if alone else self._step
        strategy = devices.distribute

        @tf.function(autograph=False)
        def run(batches: Any, count: tf.Tensor) -> tf.Tensor:
            def add_step(index: tf.Tensor, figures: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
                # What is waited for begins when the step before has ended, and ends when the batch is there.
                with tf.control_dependencies([figures.flow]):
                    start = tf.timestamp()
                with tf.control_dependencies([start]):
                    batch = next(batches)
                rows = [part for rows in tf.nest.flatten(batch) for part in strategy.experimental_local_results(rows)]
                with tf.control_dependencies(rows):
                    wait = tf.cast(tf.timestamp() - start, tf.float32)
                results = strategy.run(self.step, (batch,))
                results = tf.nest.map_structure(lambda values: strategy.experimental_local_results(values)[0], results)
                return index + 1, figures.write(index, self._packed((wait, *results)))

            loop = (tf.constant(0), tf.TensorArray(tf.float32, count))
            return tf.while_loop(lambda index, _: index < count, add_step, loop)[1].stack()

        self._run = run

    def run(self, batches: Iterator[Arrays], count: int) -> StepMetrics:
        """`count` steps; returns each one's figures."""
        packed = self._run(batches, tf.constant(count)).numpy()
        shapes = [tuple(figure.shape) for figure in tf.nest.flatten(self._figures)]
        parts = np.split(packed, np.cumsum([math.prod(shape) for shape in shapes])[:-1], axis=1)
        figures = [part.reshape(count, *shape) for part, shape in zip(parts, shapes, strict=True)]
        waits, losses, norms, reports = tf.nest.pack_sequence_as(self._figures, figures)
        return StepMetrics(losses, norms, waits, reports)

    def _packed(self, figures: tuple[Any, ...]) -> tf.Tensor:
        """A step's figures in one vector: which there are is known only when the step has been traced."""
        self._figures = tf.nest.map_structure(lambda figure: tf.TensorSpec(figure.shape), figures)
        return tf.concat([tf.reshape(figure, [-1]) for figure in tf.nest.flatten(figures)], 0)

    def stablehlo(self, batch: Mapping[str, tuple[tuple[int, ...], str]]) -> bytes:
        """The step of one replica, of arrays of these shapes and dtypes, for XLA: as serialised StableHLO."""
        rows = {name: tf.zeros(shape, dtype) for name, (shape, dtype) in batch.items()}
        step: Any = compiled(self._model, self._step)
        serialised: bytes = step.experimental_get_compiler_ir(rows)(stage="stablehlo_serialized")
        return serialised

    def _step(self, batch: Arrays) -> tuple[tf.Tensor, tf.Tensor, dict[str, tf.Tensor]]:
        """One step; returns its loss, the norm of its gradient, and the reports."""
        context = self._replica()
        targets = context.all_reduce(tf.distribute.ReduceOp.SUM, target_count(self._model, batch))
        seed = fold_seed(self._seed, self._optimizer.iterations)
        if self._replicas > 1:
            seed = fold_seed(seed, context.replica_id_in_sync_group)
        gradients, shown = self._gradients(batch, targets, seed)
        gradients, shown = context.all_reduce(tf.distribute.ReduceOp.SUM, (gradients, shown))
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return shown.loss, tf.linalg.global_norm(gradients), shown.reports

    def _local_gradients(self, batch: Arrays, targets: tf.Tensor, seed: tf.Tensor) -> tuple[list[Any], LossReport]:
        """What this replica's part of the batch adds to the gradients and to what is shown."""
        if self._accumulation == 1:
            return self._part(batch, targets, fold_seed(seed, 0))
        compute = tf.function(
            lambda number: self._part(part_of(batch, number, self._accumulation), targets, fold_seed(seed, number)),
            autograph=False,
        )
        number = tf.constant(0)
        total = tf.nest.map_structure(
            lambda total: tf.zeros(total.shape, total.dtype), compute.get_concrete_function(number).structured_outputs
        )

        def add(number: tf.Tensor, total: Any) -> tuple[Any, ...]:
            return number + 1, tf.nest.map_structure(tf.add, total, compute(number))

        _, (gradients, shown) = tf.while_loop(
            lambda number, *_: number < self._accumulation, add, (number, total), maximum_iterations=self._accumulation
        )
        return gradients, shown

    def _part(self, batch: Arrays, targets: tf.Tensor, seed: tf.Tensor) -> tuple[list[Any], LossReport]:
        parts = self._accumulation * self._replicas
        with tf.GradientTape() as tape:
            loss, shown = part_loss(self._model, batch, seed, targets=targets, parts=parts, z_loss=self._z_loss)
        values = [variable.value for variable in self._model.trainable_variables]
        # The embedding's gradient comes as the looked-up rows alone: XLA wants it dense.
        return [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, values)], shown
