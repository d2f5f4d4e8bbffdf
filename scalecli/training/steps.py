"""Training steps on TensorFlow: one compiled function for many steps, no Python in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import tensorflow as tf

from scalecli.models.compiled import compiled
from scalecli.models.dropout import fold_seed
from scalecli.models.encoder_decoder import EncoderDecoder, cross_entropy
from scalecli.training.records import Figures

Batch = Mapping[str, Any]


class TrainingSteps:
    """Runs optimizer steps on batches of a dataset's iterator.

    The loss is the cross-entropy of the target tokens plus the z-loss, summed and divided by the number of target
    tokens of the whole batch, plus the layers' auxiliary losses. A batch is worked through in `accumulation` equal
    parts whose gradients are added up; an auxiliary loss is the mean of the parts' own. Dropout masks are a function of
    (seed, step, part).
    """

    def __init__(
        self,
        model: EncoderDecoder,
        optimizer: keras.optimizers.Optimizer,
        *,
        seed: int,
        z_loss: float,
        accumulation: int = 1,
    ) -> None:
        self._model, self._optimizer = model, optimizer
        self._seed = tf.constant(seed, tf.int32)
        self._z_loss, self._accumulation = z_loss, accumulation
        optimizer.build(model.trainable_variables)
        step: Any = compiled(model, self._step)

        @tf.function
        def run(batches: Any, count: tf.Tensor) -> Any:
            structure = step.get_concrete_function(batches.element_spec).structured_outputs
            arrays = [
                tf.TensorArray(each.dtype, count, element_shape=each.shape) for each in tf.nest.flatten(structure)
            ]
            for index in tf.range(count):
                figures = tf.nest.flatten(step(next(batches)))
                arrays = [array.write(index, figure) for array, figure in zip(arrays, figures, strict=True)]
            return tf.nest.pack_sequence_as(structure, [array.stack() for array in arrays])

        self._run = run

    def run(self, batches: Iterator[Batch], count: int) -> Figures:
        """`count` steps; returns each one's figures."""
        figures: Figures = tf.nest.map_structure(lambda each: each.numpy(), self._run(batches, tf.constant(count)))
        return figures

    def _step(self, batch: Batch) -> Figures:
        tokens = tf.reduce_sum(tf.cast(batch["targets"] > 0, tf.float32))
        seed = fold_seed(self._seed, self._optimizer.iterations)
        if self._accumulation == 1:
            loss, gradients, reports = self._part(batch, tokens, fold_seed(seed, 0))
        else:
            loss, gradients, reports = self._accumulated(batch, tokens, seed)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return Figures(loss, tf.linalg.global_norm(gradients), reports)

    def _part(self, batch: Batch, tokens: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, list[Any], dict[str, Any]]:
        """What one part adds to the batch's loss, gradients and reports; the batch has that many target `tokens`."""
        targets = batch["targets"]
        real = tf.cast(targets > 0, tf.float32)
        with tf.GradientTape() as tape:
            output = self._model.outputs(batch, seed)
            losses, log_normaliser = cross_entropy(output.logits, targets)
            z_losses = self._z_loss * tf.square(log_normaliser)
            loss = tf.reduce_sum((losses + z_losses) * real) / tokens + output.auxiliary_loss / self._accumulation
        values = [variable.value for variable in self._model.trainable_variables]
        # The embedding's gradient comes as the looked-up rows alone: XLA wants it dense.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, values)]
        reports = {name: report / self._accumulation for name, report in output.reports.items()}
        return tf.reduce_sum(losses * real) / tokens, gradients, reports

    def _accumulated(self, batch: Batch, tokens: tf.Tensor, seed: tf.Tensor) -> Any:
        """The sum over the parts of what `_part` returns."""
        parts = {name: tf.reshape(whole, [self._accumulation, -1, *whole.shape[1:]]) for name, whole in batch.items()}
        compute = tf.function(
            lambda number: self._part(
                {name: whole[number] for name, whole in parts.items()}, tokens, fold_seed(seed, number)
            )
        )
        number = tf.constant(0)
        total = tf.nest.map_structure(
            lambda each: tf.zeros(each.shape, each.dtype), compute.get_concrete_function(number).structured_outputs
        )

        def add(number: tf.Tensor, total: Any) -> tuple[Any, ...]:
            return number + 1, tf.nest.map_structure(tf.add, total, compute(number))

        _, total = tf.while_loop(
            lambda number, *_: number < self._accumulation, add, (number, total), maximum_iterations=self._accumulation
        )
        return total
