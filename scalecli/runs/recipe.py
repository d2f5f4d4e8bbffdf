"""How a model is trained, and the manifest and the model that a run starts with."""

from __future__ import annotations

import os
import platform
import subprocess
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from scalecli import __version__
from scalecli.costs import Batch, flops
from scalecli.errors import ConfigurationError
from scalecli.manifest import (
    Checkpoints,
    Data,
    Environment,
    Flops,
    Manifest,
    Parameters,
    Parent,
    Strategy,
    utc_now,
)
from scalecli.shape import Shape
from scalecli.specs import ModelSpec
from scalecli.training.schedules import Schedule

if TYPE_CHECKING:
    from scalecli.models.encoder_decoder import EncoderDecoder


@dataclass(frozen=True)
class Recipe:
    """How a model is trained: optimizer steps, examples a step, schedule, regularisation, precision, seed.

    Raises:
        ConfigurationError: a value that can't be.
    """

    steps: int
    batch: int
    schedule: Schedule
    dropout: float
    seed: int
    precision: Literal["float32", "bfloat16"] = "float32"
    accumulation: int = 1
    z_loss: float = 1e-4

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("batch", 1), ("accumulation", 1), ("seed", 0)):
            if getattr(self, name) < least:
                raise ConfigurationError(f"{name} is {getattr(self, name)}; {least} or more is accepted")
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


def new_manifest(
    kind: Literal["pretrain", "finetune"],
    *,
    name: str,
    spec: ModelSpec,
    shape: Shape,
    data: Data,
    recipe: Recipe,
    command_line: str,
    parent: Parent | None = None,
    objective: dict[str, Any] | None = None,
    start_step: int = 0,
) -> Manifest:
    """The manifest of a training run that is about to start, after `start_step` steps that another run has done.

    Raises:
        ConfigurationError: the architecture can't have such inputs, or examples packed into rows, or no step is left.
    """
    if recipe.steps <= start_step:
        raise ConfigurationError(f"steps is {recipe.steps}, and the run goes on from step {start_step}; give more")
    refused = spec.packing_refused() if data.packed else None
    if refused is not None:
        raise ConfigurationError(f"{spec.architecture} can't have packed examples: {refused}; use --padded")
    batch = Batch(recipe.batch, data.inputs_length, data.targets_length)
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
        shape=dict(shape.to_dict()),
        parameters=parameter_counts(spec),
        flops=Flops(
            convention="forward",
            forward_per_batch=sum(flops(spec, batch, "forward").values()),
            training_total=(recipe.steps - start_step) * sum(flops(spec, batch, "training").values()),
        ),
        data=data,
        objective=objective,
        optimizer={"name": "adafactor"},
        schedule=schedule,
        batch=recipe.batch,
        accumulation=recipe.accumulation,
        steps=recipe.steps,
        start_step=start_step,
        seed=recipe.seed,
        precision=recipe.precision,
        dropout=recipe.dropout,
        z_loss=recipe.z_loss,
        strategy=Strategy(kind="one", replicas=1),
        checkpoints=Checkpoints(directory="checkpoints"),
        environment=environment(),
    )


def parameter_counts(spec: ModelSpec) -> Parameters:
    """Trainable parameters: all, those of the vocabulary's tables, and the rest."""
    total, embedding = spec.parameters(), spec.embedding_parameters()
    return Parameters(total=total, embedding=embedding, non_embedding=total - embedding)


def build_model(spec: ModelSpec, recipe: Recipe) -> EncoderDecoder:
    """The model with its weights drawn from the recipe's seed."""
    import keras

    from scalecli.models.encoder_decoder import EncoderDecoder

    keras.utils.set_random_seed(recipe.seed)
    return EncoderDecoder(spec, recipe.precision, recipe.dropout)


def require_tensorflow() -> None:
    """Runs need the TensorFlow backend; models alone run on others.

    Raises:
        ConfigurationError: Keras was told to use another one.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        raise ConfigurationError(f"KERAS_BACKEND is {keras.backend.backend()!r}; runs need 'tensorflow', the default")
    import tensorflow as tf

    # An evaluation compiles a function for each of its few shapes, and TensorFlow warns that this happens often.
    tf.get_logger().setLevel("ERROR")


def environment() -> Environment:
    """The software and devices of this process, and the state of the git repository that it runs in."""
    import keras
    import tensorflow as tf

    commit = _git("rev-parse", "HEAD")
    changes = _git("status", "--porcelain")
    return Environment(
        python=platform.python_version(),
        scalecli=__version__,
        keras=keras.__version__,
        tensorflow=tf.__version__,
        git_commit=commit,
        git_dirty=None if changes is None else bool(changes),
        devices=[
            *(_device_text(device) for device in tf.config.list_physical_devices()),
            f"{os.cpu_count()} cores, {platform.machine()}",
        ],
    )


def _device_text(device: Any) -> str:
    """A device by its number and, where TensorFlow knows it, its maker's name: `CPU:0`, `GPU:0 NVIDIA H200`."""
    import tensorflow as tf

    name = device.name.removeprefix("/physical_device:")
    details = tf.config.experimental.get_device_details(device)
    return " ".join([name, *filter(None, [details.get("device_name")])])


def _git(*arguments: str) -> str | None:
    try:
        ran = subprocess.run(["git", *arguments], capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return ran.stdout.strip()
