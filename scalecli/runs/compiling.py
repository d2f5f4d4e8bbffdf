"""The step of a training run, compiled for a TPU that is not there."""

from __future__ import annotations

from typing import Any

from scalecli.devices import Request, check_batch, open_devices
from scalecli.devices.tpu_check import Compiled, TpuCompiler, machine_of
from scalecli.errors import ScalecliError
from scalecli.runs.recipe import Recipe, build_model
from scalecli.specs import EncoderOnly, ModelSpec


def compile_step(
    spec: ModelSpec, recipe: Recipe, inputs: int, targets: int, topology: str, model_parallel: int
) -> Compiled:
    """Compiles the training step for a topology such as v3:4x4; `inputs` and `targets` are lengths in tokens.

    It is the step of the whole topology, as each device has its part of it, with what passes between them.

    Raises:
        ConfigurationError: there is no such topology; its devices don't divide into replicas, or the batch over them;
            the extra [tpu-check] is not installed; TensorFlow is to split a model.
        ScalecliError: TensorFlow has no room for the weights, which it needs here, too.
    """
    machine = machine_of(topology, model_parallel)
    rows = machine.sequences_per_replica(recipe.batch)
    check_batch(recipe.batch, recipe.accumulation, machine.replicas)
    compiler = TpuCompiler(topology)
    from scalecli.models.compiled import compiling_for_tpu
    from scalecli.models.keras_settings import settle_keras

    with compiling_for_tpu():
        if settle_keras() == "jax":
            from scalecli.devices.jax import PlannedDevices

            planned = PlannedDevices(compiler.devices, model_parallel)
            return compiler.compile_lowered(
                _steps(spec, recipe, planned).lowered(_batch(spec, recipe.batch, inputs, targets))
            )
        open_devices(Request("one", model_parallel=model_parallel))  # refuses what TensorFlow can't
        import tensorflow as tf

        from scalecli.devices.planned import PlannedReplicas

        try:
            steps = _steps(spec, recipe, PlannedReplicas(machine.replicas))
            return compiler.compile_stablehlo(steps.stablehlo(_batch(spec, rows, inputs, targets)), machine.replicas)
        except tf.errors.ResourceExhaustedError as error:
            raise ScalecliError(
                "this machine has not the memory for the weights; KERAS_BACKEND=jax compiles without them"
            ) from error


def _steps(spec: ModelSpec, recipe: Recipe, devices: Any) -> Any:
    from scalecli.training.steps import new_steps

    model = build_model(spec, recipe, devices)
    optimizer = devices.new_optimizer(recipe.new_optimizer, model)
    return new_steps(
        devices, model, optimizer, seed=recipe.seed, z_loss=recipe.z_loss, accumulation=recipe.accumulation
    )


def _batch(spec: ModelSpec, rows: int, inputs: int, targets: int) -> dict[str, tuple[tuple[int, ...], str]]:
    """Shape and dtype of the arrays that a model reads."""
    if isinstance(spec, EncoderOnly):
        size = spec.embedding.image_size
        return {"images": ((rows, size, size, 3), "float32"), "labels": ((rows,), "int32")}
    return {"inputs": ((rows, inputs), "int32"), "targets": ((rows, targets), "int32")}
