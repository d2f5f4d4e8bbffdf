"""How a model is trained, and the manifest and the model that a run starts with."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from scalecli import __version__
from scalecli.architectures.recorded import architecture_file
from scalecli.costs import Batch, batch_of, flops
from scalecli.costs.hardware import Precision
from scalecli.costs.memory import Optimizer, Training
from scalecli.devices import Devices, check_batch
from scalecli.errors import ConfigurationError
from scalecli.manifest import (
    Checkpoints,
    Data,
    Environment,
    Flops,
    ImageData,
    Manifest,
    Parameters,
    Parent,
    Scalar,
)
from scalecli.shape import Shape
from scalecli.specs import ModelSpec
from scalecli.times import utc_now
from scalecli.training.schedules import Schedule

if TYPE_CHECKING:
    from scalecli.models.encoder_decoder import EncoderDecoder
    from scalecli.models.vision import VisionTransformer

_MOST_STEPS, _MOST_EXAMPLES = 2**40, 2**24


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: optimizer steps, examples a step, schedule, regularisation, precision, seed.

    Raises:
        ConfigurationError: a value out of range.
    """

    steps: int
    batch: int
    schedule: Schedule
    dropout: float
    seed: int
    precision: Precision = "float32"
    accumulation: int = 1
    z_loss: float = 1e-4
    rematerialise: bool = False
    optimizer: Optimizer = "adafactor"
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("accumulation", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; {least} or more is accepted")
        for name, most in (("steps", _MOST_STEPS), ("batch", _MOST_EXAMPLES)):
            if getattr(self, name) > most:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; at most {most:,} is accepted")
        if self.seed >= 2**31:
            raise ConfigurationError(f"seed is {self.seed}; less than 2^31 is accepted")
        if self.batch % self.accumulation:
            raise ConfigurationError(f"a batch of {self.batch} can't be cut into {self.accumulation} equal parts")
        if not 0 <= self.dropout < 1:
            raise ConfigurationError(f"dropout is {self.dropout}; from 0 up to, but not, 1 is accepted")
        if not self.schedule.learning_rate > 0:
            raise ConfigurationError(f"learning_rate is {self.schedule.learning_rate}; more than 0 is accepted")
        if self.z_loss < 0 or self.schedule.warmup < 0:
            raise ConfigurationError("z_loss and warmup can't be negative")
        if self.weight_decay < 0:
            raise ConfigurationError(f"weight_decay is {self.weight_decay}; 0 or more is accepted")
        if self.weight_decay and self.optimizer != "adamw":
            raise ConfigurationError(f"weight_decay is {self.weight_decay}, and {self.optimizer} has none; adamw has")

    @property
    def training(self) -> Training:
        """What the costs of a step depend on."""
        return Training(self.optimizer, self.precision, self.rematerialise)

    def new_optimizer(self) -> Any:
        """The Keras optimizer, not built yet."""
        from scalecli.training.optimizers import new_optimizer

        return new_optimizer(self.optimizer, self.schedule, self.weight_decay)

    def optimizer_entry(self) -> dict[str, Scalar]:
        """What a manifest says of the optimizer."""
        decay = {"weight_decay": self.weight_decay} if self.optimizer == "adamw" else {}
        return {"name": self.optimizer, **decay}


def new_manifest(
    kind: Literal["pretrain", "finetune"],
    *,
    name: str,
    spec: ModelSpec,
    shape: Shape,
    data: Data | ImageData,
    recipe: Recipe,
    devices: Devices,
    command_line: str,
    parent: Parent | None = None,
    objective: dict[str, Any] | None = None,
    start_step: int = 0,
) -> Manifest:
    """The manifest of a training run that is about to start, after `start_step` steps that another run has done.

    Raises:
        ConfigurationError: the architecture does not take inputs of this length, or packed examples; or the devices do
            not divide the batch, or no step is left.
    """
    check_batch(recipe.batch, recipe.accumulation, devices.replicas)
    if recipe.steps <= start_step:
        raise ConfigurationError(f"steps is {recipe.steps}, and the run goes on from step {start_step}; give more")
    if isinstance(data, Data) and data.packed and (refused := spec.why_not_packed()):
        raise ConfigurationError(f"{spec.architecture} can't have packed examples: {refused}; use --padded")
    batch = batch_of_data(spec, data, recipe.batch)
    schedule: dict[str, Any] = asdict(recipe.schedule)
    if recipe.schedule.name in ("inverse-square-root", "constant"):
        del schedule["steps"]  # only a decay to zero knows how long the run is: the others may be trained on
    return Manifest(
        kind=kind,
        name=name,
        status="running",
        created=utc_now(),
        command_line=command_line,
        parent=parent,
        architecture=spec.architecture,
        architecture_file=architecture_file(spec.architecture),
        shape=dict(shape.to_dict()),
        parameters=parameter_counts(spec),
        flops=Flops(
            convention="forward",
            forward_per_batch=sum(flops(spec, batch, "forward").values()),
            training_total=(recipe.steps - start_step) * sum(flops(spec, batch, "training").values()),
        ),
        data=data,
        objective=objective,
        optimizer=recipe.optimizer_entry(),
        schedule=schedule,
        batch=recipe.batch,
        accumulation=recipe.accumulation,
        steps=recipe.steps,
        start_step=start_step,
        seed=recipe.seed,
        precision=recipe.precision,
        dropout=recipe.dropout,
        z_loss=recipe.z_loss,
        strategy=devices.strategy,
        checkpoints=Checkpoints(directory="checkpoints"),
        environment=environment(),
    )


def batch_of_data(spec: ModelSpec, data: Data | ImageData, sequences: int) -> Batch:
    """A batch of `sequences` examples, of the lengths that a run's data has."""
    if isinstance(data, Data):
        return Batch(sequences, data.inputs_length, data.targets_length)
    return batch_of(spec, sequences=sequences)


def parameter_counts(spec: ModelSpec) -> Parameters:
    """Trainable parameters: all, those of the vocabulary's tables, and the rest."""
    total, embedding = spec.parameters(), spec.embedding_parameters()
    return Parameters(total=total, embedding=embedding, non_embedding=total - embedding)


def build_model(spec: ModelSpec, recipe: Recipe, devices: Devices) -> EncoderDecoder | VisionTransformer:
    """The model of a spec on the devices, its weights drawn from the seed."""
    import keras

    from scalecli.models.building import new_model

    keras.utils.set_random_seed(recipe.seed)
    return devices.new_model(lambda: new_model(spec, recipe.precision, recipe.dropout, recipe.rematerialise))


def environment() -> Environment:
    """The software and devices of this process, and the state of the git repository that it runs in."""
    from scalecli.models.keras_settings import settle_keras

    backend = settle_keras()
    import keras

    version = importlib.import_module(backend).__version__
    changes = _git("status", "--porcelain")
    return Environment(
        python=platform.python_version(),
        scalecli=__version__,
        git_commit=_git("rev-parse", "HEAD"),
        git_dirty=None if changes is None else bool(changes),
        devices=[*_devices(), f"{os.cpu_count()} cores, {platform.machine()}"],
        keras=keras.__version__,
        tensorflow=version if backend == "tensorflow" else None,
        jax=version if backend == "jax" else None,
    )


def _devices() -> list[str]:
    """Devices by their number and, where the backend knows it, their maker's name: `CPU:0`, `GPU:0 NVIDIA H200`."""
    import keras

    if keras.backend.backend() == "jax":
        import jax

        return [f"{device.platform.upper()}:{device.id} {device.device_kind}" for device in jax.devices()]
    import tensorflow as tf

    details = tf.config.experimental.get_device_details
    return [
        f"{device.name.removeprefix('/physical_device:')} {details(device).get('device_name') or ''}".rstrip()
        for device in tf.config.list_physical_devices()
    ]


def _git(*arguments: str) -> str | None:
    try:
        ran = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()
