"""Memory of a training step: what rematerialisation and chunked logits save, and the optimizer beside Keras' own.

    KERAS_BACKEND=jax python -m tests.benchmarks.memory [--model small-nl24] [--architecture transformer] [--batch 16]

Peak temporaries are XLA's own memory analysis of loss and gradients, compiled for this machine's CPU by JAX; nothing is
run. Optimizer memory is that of the state of Adafactor, ours and keras.optimizers.Adafactor, for the same weights.
"""

from __future__ import annotations

import argparse
import time
from typing import Any
from unittest import mock

from scalecli.architectures import build_spec
from scalecli.costs import Batch
from scalecli.costs.hardware import Machine
from scalecli.costs.memory import Training, device_memory
from scalecli.shape import parse_name

MIB = 2**20


def compiled(spec: Any, batch: Batch, precision: str, rematerialise: bool, chunked: bool) -> Any:
    """Loss and gradients as XLA compiled them."""
    import jax
    import keras
    from jax import numpy as jnp

    from scalecli.models import losses
    from scalecli.models.encoder_decoder import EncoderDecoder

    with keras.StatelessScope(initialize_variables=False):  # nothing is allocated
        model = EncoderDecoder(spec, precision, rematerialise=rematerialise)
    variables = model.trainable_variables

    def loss(values: Any, batch: Any) -> Any:
        with keras.StatelessScope(state_mapping=list(zip(variables, values, strict=True))):
            found = model.losses(batch, jnp.int32(0))
        return jnp.sum(found.cross_entropy) + found.auxiliary_loss

    weights = [jax.ShapeDtypeStruct(variable.shape, variable.dtype) for variable in variables]
    lengths = {"inputs": batch.inputs, "targets": batch.targets}
    ids = {name: jax.ShapeDtypeStruct((batch.sequences, length), "int32") for name, length in lengths.items()}
    most = losses.MOST_LOGITS if chunked else batch.sequences * batch.targets * spec.logits.classes
    with mock.patch.object(losses, "MOST_LOGITS", most):
        return jax.jit(jax.value_and_grad(loss)).lower(weights, ids).compile()


def optimizer_bytes(spec: Any) -> dict[str, int]:
    """Of the state of each Adafactor."""
    import keras

    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.training.optimizers.adafactor import Adafactor

    model, found = EncoderDecoder(spec), {}
    for name, kind in (("scalecli", Adafactor), ("keras.optimizers.Adafactor", keras.optimizers.Adafactor)):
        optimizer = kind(1e-3)
        optimizer.build(model.trainable_variables)
        sizes = (keras.ops.size(variable.value) * variable.value.dtype.itemsize for variable in optimizer.variables)
        found[name] = sum(map(int, sizes))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="small-nl24")
    parser.add_argument("--architecture", default="transformer")
    parser.add_argument("--precision", default="float32", help="CPUs have no bfloat16 products: XLA widens copies")
    for name, value in (("batch", 32), ("inputs", 512), ("targets", 114)):
        parser.add_argument(f"--{name}", type=int, default=value)
    arguments = parser.parse_args()
    spec = build_spec(arguments.architecture, parse_name(arguments.model, arguments.architecture))
    batch = Batch(arguments.batch, arguments.inputs, arguments.targets)
    print(f"{arguments.architecture} {arguments.model}, {batch}, {arguments.precision}")
    for rematerialise, chunked in ((False, False), (False, True), (True, False), (True, True)):
        start = time.perf_counter()
        memory = compiled(spec, batch, arguments.precision, rematerialise, chunked).memory_analysis()
        training = Training(precision=arguments.precision, rematerialised=rematerialise)
        estimate = device_memory(spec, batch, Machine("cpu", 1), training)
        print(
            f"  {'rematerialised' if rematerialise else 'all kept':15} {'chunks' if chunked else 'whole logits':13} "
            f"temporaries {memory.temp_size_in_bytes / MIB:8,.0f} MiB  estimate of activations "
            f"{estimate.activations / MIB:8,.0f} MiB  compiled in {time.perf_counter() - start:.0f} s",
            flush=True,
        )
    found = optimizer_bytes(spec)
    for name, size in found.items():
        print(f"  {name:27} {size / MIB:8,.1f} MiB  ratio {size / found['scalecli']:.1f}")


if __name__ == "__main__":
    main()
