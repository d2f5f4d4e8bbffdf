"""What a model's programs compute, for the checks: FLOPs as XLA gets them, and the gradients of the loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from scalecli import specs


def program_flops(model: Any, batch: Mapping[str, np.ndarray]) -> int:
    """FLOPs of the matrix products and convolutions in the program of a forward pass, as XLA gets it."""
    import keras

    from scalecli.devices.hlo import work
    from scalecli.models.compiled import compiling_for_tpu, without_loops

    batch = {name: keras.ops.convert_to_tensor(array) for name, array in batch.items()}

    def forward(batch: Any) -> Any:
        # As in training, where experts work on all the places that they have.
        return model.outputs(batch, 0).logits if isinstance(model.spec, specs.EncoderDecoder) else model(batch)

    with compiling_for_tpu(), without_loops():
        if keras.backend.backend() == "tensorflow":
            import tensorflow as tf

            program = tf.function(forward, jit_compile=True, autograph=False)
            return work(program.experimental_get_compiler_ir(batch)(stage="hlo")).flops
        import jax

        def stateless(values: list[Any], batch: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
                return forward(batch)

        lowered = jax.jit(stateless).lower([variable.value for variable in model.variables], batch)
        return work(lowered.compile().as_text()).flops


def loss_gradients(model: Any, batch: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The gradients of the sum of the losses, by the weights' paths; zeros where there is none."""
    import keras

    by_path, ops = model.weights_by_path(), keras.ops
    batch = {name: ops.convert_to_tensor(array) for name, array in batch.items()}

    def loss() -> Any:
        losses = model.losses(batch, 0)
        return ops.sum(losses.cross_entropy) + losses.auxiliary_loss

    values = [variable.value for variable in by_path.values()]
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            total = loss()
        gradients = tape.gradient(total, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        gradients = [tf.convert_to_tensor(gradient) for gradient in gradients]
    else:
        import jax

        def stateless(values: list[Any]) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(by_path.values(), values, strict=True))):
                return loss()

        gradients = jax.jit(jax.grad(stateless))(values)
    return {path: np.asarray(gradient) for path, gradient in zip(by_path, gradients, strict=True)}
