"""Functions of a model as one compiled program, on either backend."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras


def uses_xla() -> bool:
    """Whether programs are compiled by XLA: everywhere but on TensorFlow where there are only CPUs.

    TensorFlow's own CPU kernels take about two thirds of the time of XLA's there, and start at once; see
    tests/benchmarks.
    """
    if keras.backend.backend() != "tensorflow":
        return True
    import tensorflow as tf

    return any(device.device_type != "CPU" for device in tf.config.list_logical_devices())


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which uses `model` and takes and returns nests of tensors, as one program.

    It compiles anew for every new shape of its arguments. Only on TensorFlow may it change the model's variables.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not uses_xla():
            # In a loop within a loop TensorFlow's graph optimizer makes temporary variables that meet each other
            # ("AlreadyExists") as soon as a model is large. Without it a training step takes 1 to 3% longer.
            tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        return tf.function(function, jit_compile=uses_xla())
    if keras.backend.backend() == "jax":
        import jax

        # Variables are arguments, or they would be constants of the program.
        @jax.jit
        def pure(values: list[Any], *arguments: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
                return function(*arguments)

        return lambda *arguments: pure([variable.value for variable in model.variables], *arguments)
    return function
