"""The devices that a program runs on, behind one interface: a batch divided over replicas, on one host or on several.

one, mirrored, multi-worker, tpu     TensorFlow's strategies (`tensorflow.py`)
jax                                  data and model parallelism by Keras' distribution (`jax.py`)
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, TypeVar

from scalecli.devices.machine import check_tensorflow
from scalecli.errors import ConfigurationError

if TYPE_CHECKING:
    import numpy as np

    from scalecli.data.order import HostShare
    from scalecli.manifest import Strategy
    from scalecli.models.trainable import Trainable

Kind = Literal["auto", "one", "mirrored", "multi-worker", "tpu"]
KINDS: tuple[Kind, ...] = ("auto", "one", "mirrored", "multi-worker", "tpu")
Combine = Literal["sum", "rows"]
# batches(start_step, share): the dataset of a host's share of the batches.
Batches: TypeAlias = "Callable[[int, HostShare], Any]"
Model = TypeVar("Model", bound="Trainable")


class Mapped(Protocol):
    """What evaluation needs of devices."""

    def mapped(self, model: Trainable, function: Callable[[Any], Any], combine: Combine) -> Callable[[Any], Any]:
        """`function` of a batch, compiled and run on each replica's part of it.

        What it returns is added up ("sum") or put together along the first axis ("rows"), as NumPy arrays. The batch,
        a nest of arrays whose first axis the replicas divide, is the same on all hosts.
        """


class Devices(Mapped, Protocol):
    """The devices of one run.

    `replicas`: equal parts that a batch is divided into, one for each device or, with model parallelism, group of
    devices. `chief`: whether this process writes what all processes know. `strategy`: what the manifest says of it.
    """

    replicas: int
    chief: bool
    strategy: Strategy

    def divisible(self, batch: int) -> int:
        """The least batch of so many examples or more that the replicas can share."""
        return batch + -batch % self.replicas

    def new_model(self, make: Callable[[], Model]) -> Model:
        """The model that `make` builds, its variables on the devices."""

    def new_optimizer(self, make: Callable[[], Any], model: Trainable) -> Any:
        """The optimizer that `make` builds, with its state for a model on the devices."""

    def numpy(self, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Copies of Keras variables, whole and contiguous; all processes must ask for them together."""

    def check_readable(self, files: Sequence[str]) -> None:
        """Checks that every host on which this process reads can read these files.

        Raises:
            MissingError: one can't; names the host and the file.
        """
        return

    def send(self, files: Sequence[str]) -> None:
        """Makes files of this process's cache readable on every host on which this process reads, by copies if need be.

        Raises:
            MissingError: a host can't take one; names the host and the file.
        """
        return

    def batches(self, batches: Batches, start_step: int) -> Iterator[Any]:
        """The batches from a step on; `batches(start_step, share)` is the dataset of a host's share of them."""

    def memory_bytes(self) -> int | None:
        """The most memory that this process has had in use on one of its devices, where the device tells."""

    def highest(self, numbers: Sequence[float]) -> list[float]:
        """The highest of each number over the processes: what they must agree on."""

    def start_profiler(self, folder: str) -> None:
        """Begins to record what the devices do, for TensorBoard's profiler, in a folder."""

    def stop_profiler(self) -> None:
        """Writes what was recorded."""

    def watched(self) -> contextlib.AbstractContextManager[None]:
        """Within it, the loss of another process is a ScalecliError of one line."""


@dataclass(frozen=True)
class Request:
    """The devices that a run asks for: `tpu` names one (None: this machine's), `model_parallel` devices hold a model.

    Where that is None, `usual_parallel` devices do on the JAX backend, if they divide those that there are, else one.
    `deterministic` has GPUs take slower kernels that give the same bits every time.

    Raises:
        ConfigurationError: a value that can't be, or two that don't go together.
    """

    kind: Kind = "auto"
    tpu: str | None = None
    model_parallel: int | None = None
    usual_parallel: int = 1
    deterministic: bool = False

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ConfigurationError(f"strategy {self.kind!r}; accepted: {', '.join(KINDS)}")
        if self.model_parallel is not None and self.model_parallel < 1:
            raise ConfigurationError(f"model_parallel is {self.model_parallel}; 1 or more is accepted")
        if self.tpu and self.kind not in ("auto", "tpu"):
            raise ConfigurationError(f"--tpu {self.tpu} goes with --strategy tpu, not {self.kind}")

    def parallel_on(self, devices: int) -> int:
        """How many of so many devices hold a model, on the JAX backend."""
        if self.model_parallel is not None:
            return self.model_parallel
        return self.usual_parallel if devices % self.usual_parallel == 0 else 1


AUTOMATIC = Request()


def prepare_environment(request: Request) -> None:
    """Sets what TensorFlow and JAX read from the environment when they are imported; to be called before that.

    Raises:
        ConfigurationError: the TensorFlow that is installed would abort (see `machine.check_tensorflow`).
    """
    on_jax = os.environ.get("KERAS_BACKEND") == "jax"
    if request.tpu or (request.kind == "one" and not on_jax):
        os.environ.setdefault("TPU_LOAD_LIBRARY", "0")  # this machine's own TPU, if it has one, is left alone
    check_tensorflow()
    if request.deterministic:
        flags = os.environ.get("XLA_FLAGS", "")
        os.environ["XLA_FLAGS"] = f"{flags} --xla_gpu_deterministic_ops=true".strip()


def open_devices(request: Request) -> Devices:
    """The devices asked for, on Keras' present backend.

    Raises:
        ConfigurationError: they are not there, or the backend can't have them; says how to get them.
    """
    from scalecli.models.keras_settings import settle_keras

    if settle_keras() == "jax":
        from scalecli.devices.jax import open_jax

        return open_jax(request)
    from scalecli.devices.tensorflow import open_tensorflow

    return open_tensorflow(request)


def check_batch(batch: int, accumulation: int, replicas: int) -> None:
    """Raises ConfigurationError for a batch that can't be cut into equal parts for all replicas and accumulation."""
    if batch % (replicas * accumulation):
        parts = f" in {accumulation} parts" if accumulation > 1 else ""
        raise ConfigurationError(f"a batch of {batch}{parts} can't be divided over {replicas} replicas")
