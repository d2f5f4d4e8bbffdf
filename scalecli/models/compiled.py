"""Functions of a model as one compiled program, on either backend."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any

import keras

MOST_UNROLLED = 48  # layers of a stack
MOST_WRITTEN_OUT = 1024  # keys whose scores attention writes out
_FOR_TPU = ContextVar("for_tpu", default=False)
_WITHOUT_LOOPS = ContextVar("without_loops", default=False)


@contextlib.contextmanager
def _switched_on(switch: ContextVar[bool]) -> Iterator[None]:
    before = switch.set(True)
    try:
        yield
    finally:
        switch.reset(before)


def compiling_for_tpu() -> contextlib.AbstractContextManager[None]:
    """Within it, programs are made as for a TPU, whatever devices there are."""
    return _switched_on(_FOR_TPU)


def without_loops() -> contextlib.AbstractContextManager[None]:
    """Within it, programs have layer after layer instead of a loop, so that their operations can be counted."""
    return _switched_on(_WITHOUT_LOOPS)


def has_loops() -> bool:
    """Whether programs run layers in loops."""
    return not _WITHOUT_LOOPS.get()


def uses_xla() -> bool:
    """Whether programs are compiled by XLA: everywhere but on TensorFlow where there are only CPUs.

    TensorFlow's own CPU kernels took 5.07 s for a training step of small where XLA's took 5.91 s (batch 8 x 512/114,
    float32, two cores, both in one process), and they start sooner. tensorflow-tpu has no XLA for CPUs, and lists a
    device of type TPU_SYSTEM even where there is no TPU.
    """
    if keras.backend.backend() != "tensorflow" or _FOR_TPU.get():
        return True
    import tensorflow as tf

    return any(device.device_type in ("GPU", "TPU") for device in tf.config.list_logical_devices())


def on_jax_gpu() -> bool:
    """Whether programs are JAX's for NVIDIA GPUs."""
    if keras.backend.backend() != "jax":
        return False
    import jax

    return jax.default_backend() == "gpu" and not _FOR_TPU.get()


def fuses_attention(dtype: str) -> bool:
    """Whether attention computed in that dtype runs in kernels of its own: on JAX, on one NVIDIA GPU."""
    if not on_jax_gpu():
        return False
    import jax

    return jax.device_count() == 1 and dtype in ("bfloat16", "float16")


def attends_blockwise(dtype: str, keys: int) -> bool:
    """Whether attention to so many keys computes scores block by block: on accelerators, where it is not fused.

    Up to there the scores are fewer than what the layers keep besides, and computing them twice buys little memory.
    """
    if keys <= MOST_WRITTEN_OUT or fuses_attention(dtype):
        return False
    if keras.backend.backend() == "tensorflow":
        return uses_xla()
    import jax

    return _FOR_TPU.get() or jax.default_backend() != "cpu"


def unrolls(layers: int) -> bool:
    """Whether training runs that many layers one by one: GPUs copy what a loop keeps of each layer, TPUs don't.

    On an H100 a step of base took 83.8 ms that way and 103.7 ms as a loop (batch 64 x 512/114, bfloat16, an earlier
    form of the attention kernels).
    """
    return layers <= MOST_UNROLLED and on_jax_gpu()


def materialized(*tensors: Any) -> tuple[Any, ...]:
    """The tensors, computed once: on JAX, XLA fuses what makes them with nothing that uses them."""
    if keras.backend.backend() != "jax":
        return tensors
    import jax

    return tuple(jax.lax.optimization_barrier(tensors))


def compiled(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """`function`, which uses `model` and takes and returns nests of tensors, as one program.

    It compiles anew for every new shape of its arguments. Only on TensorFlow may it change the model's variables.
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if not uses_xla():
            # TensorFlow's graph optimizer is off. Its dependency pass empties a vision transformer's logits and breaks
            # loops within loops ("AlreadyExists"); without that pass it makes small models slower, and no large one
            # faster for sure (tests/benchmarks/README.md).
            tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
        return tf.function(function, jit_compile=uses_xla(), autograph=False)
    if keras.backend.backend() == "jax":
        import jax

        # Variables are arguments, or they would be constants of the program.
        @jax.jit
        def pure(values: list[Any], *arguments: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
                return function(*arguments)

        return lambda *arguments: pure([variable.value for variable in model.variables], *arguments)
    return function
