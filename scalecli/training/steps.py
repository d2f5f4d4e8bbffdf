"""Training steps on TensorFlow: one compiled function for many steps, no Python in between."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from scalecli.models.compiled import compiled
from scalecli.models.dropout import fold_seed
from scalecli.models.encoder_decoder import EncoderDecoder, cross_entropy

Batch = Mapping[str, Any]


class TrainingSteps:
    """Runs optimizer steps on batches of a dataset's iterator.

    The loss is the cross-entropy of the target tokens plus the z-loss, summed and divided by the number of target
    tokens of the whole batch. A batch is worked through in `accumulation` equal parts whose gradients are added up.
    Dropout masks are a function of (seed, step, part).
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
        step = compiled(model, self._step)

        @tf.function
        def run(batches: Iterator[Batch], count: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            losses = tf.TensorArray(tf.float32, size=count)
            norms = tf.TensorArray(tf.float32, size=count)
            for index in tf.range(count):
                loss, norm = step(next(batches))
                losses, norms = losses.write(index, loss), norms.write(index, norm)
            return losses.stack(), norms.stack()

        self._run = run

    def run(self, batches: Iterator[Batch], count: int) -> tuple[np.ndarray, np.ndarray]:
        """`count` steps; returns each one's cross-entropy (nats per token) and gradient norm, float32 [count]."""
        losses, norms = self._run(batches, tf.constant(count))
        return losses.numpy(), norms.numpy()

    def _step(self, batch: Batch) -> tuple[tf.Tensor, tf.Tensor]:
        tokens = tf.reduce_sum(tf.cast(batch["targets"] > 0, tf.float32))
        seed = fold_seed(self._seed, self._optimizer.iterations)
        if self._accumulation == 1:
            loss, gradients = self._loss_and_gradients(batch, tokens, fold_seed(seed, 0))
        else:
            loss, gradients = self._accumulated(batch, tokens, seed)
        self._optimizer.apply(gradients, self._model.trainable_variables)
        return loss, tf.linalg.global_norm(gradients)

    def _loss_and_gradients(self, batch: Batch, tokens: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, list[Any]]:
        """Cross-entropy and gradients of one part, both divided by the whole batch's number of `tokens`."""
        targets = batch["targets"]
        real = tf.cast(targets > 0, tf.float32)
        with tf.GradientTape() as tape:
            losses, log_normaliser = cross_entropy(self._model(batch, dropout_seed=seed), targets)
            z_losses = self._z_loss * tf.square(log_normaliser)
            loss = tf.reduce_sum((losses + z_losses) * real) / tokens
        values = [variable.value for variable in self._model.trainable_variables]
        # The embedding's gradient comes as the looked-up rows alone: XLA wants it dense.
        gradients = [tf.convert_to_tensor(gradient) for gradient in tape.gradient(loss, values)]
        return tf.reduce_sum(losses * real) / tokens, gradients

    def _accumulated(self, batch: Batch, tokens: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, list[Any]]:
        parts = {name: tf.reshape(whole, [self._accumulation, -1, *whole.shape[1:]]) for name, whole in batch.items()}
        zeros = [tf.zeros(variable.shape, tf.float32) for variable in self._model.trainable_variables]

        def add(part: tf.Tensor, loss: tf.Tensor, gradients: list[Any]) -> tuple[Any, ...]:
            of_part = {name: whole[part] for name, whole in parts.items()}
            more_loss, more = self._loss_and_gradients(of_part, tokens, fold_seed(seed, part))
            return part + 1, loss + more_loss, [a + b for a, b in zip(gradients, more, strict=True)]

        start = (tf.constant(0), tf.constant(0.0), zeros)
        _, loss, gradients = tf.while_loop(
            lambda part, *_: part < self._accumulation, add, start, maximum_iterations=self._accumulation
        )
        return loss, gradients
