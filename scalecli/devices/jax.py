"""Devices on the JAX backend: a mesh of (data, model), by Keras' distribution.

A batch is divided over the data axis, and a replica's devices share heads, d_ff and the vocabulary (`costs.layout`);
XLA's partitioner does the rest. Several processes are joined as JAX_COORDINATOR_ADDRESS and the like say, else as
TF_CONFIG does.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import keras
import numpy as np
from jax.experimental import multihost_utils
from keras.src.backend.common import global_state

from scalecli.costs.layout import DATA, MODEL, mesh_axes
from scalecli.data.order import HostShare
from scalecli.devices import Batches, Combine, Devices, Model, Request
from scalecli.devices.cluster import Cluster, environment_cluster
from scalecli.devices.machine import tpu_chips
from scalecli.devices.one_device import ONE_DEVICE
from scalecli.errors import ConfigurationError, ScalecliError, reason_of
from scalecli.manifest import Strategy
from scalecli.models.trainable import Trainable

_COORDINATOR = "JAX_COORDINATOR_ADDRESS"


class JaxDevices(Devices):
    """See `Devices`."""

    def __init__(self, devices: Sequence[Any], model_parallel: int) -> None:
        """`devices` are `jax.Device`s, those of a replica side by side; `model_parallel` divides their number."""
        self.model_parallel, self.replicas = model_parallel, len(devices) // model_parallel
        self.chief = jax.process_index() == 0
        topology = f"{self.replicas}x{model_parallel}" if len(devices) > 1 else None
        kind = "one" if len(devices) == 1 else "jax-data-parallel" if model_parallel == 1 else "jax-model-parallel"
        self.strategy = Strategy(kind=kind, replicas=self.replicas, topology=topology)
        names = np.array([f"{device.platform}:{device.id}" for device in devices])
        shape = (self.replicas, model_parallel)
        self._mesh = keras.distribution.DeviceMesh(shape, (DATA, MODEL), names.reshape(shape))
        self.mesh = jax.sharding.Mesh(np.array(devices).reshape(shape), (DATA, MODEL))

    def new_model(self, make: Callable[[], Model]) -> Model:
        """The model that `make` builds, its weights split over the devices as they are made."""
        self.laid_out(make)
        with self._distribution.scope():
            return make()

    def laid_out(self, make: Callable[[], Model]) -> Model:
        """The model that `make` builds, with a layout for each weight, but no values."""
        with _without_values():
            skeleton = make()
        layouts = keras.distribution.LayoutMap(self._mesh)
        for layer in skeleton.parts().values():
            axes = mesh_axes(layer.spec, self.model_parallel, self.replicas)
            for name, variable in layer.owned.items():
                stacked = (None,) * (len(variable.shape) - len(axes[name]))
                layouts[f"^{re.escape(variable.path)}$"] = (*stacked, *axes[name])
        self._distribution = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name=DATA)
        for variable in skeleton.variables:
            variable._layout = self._distribution.get_variable_layout(variable)
        return skeleton

    def sharding(self, variable: Any) -> Any:
        """How a variable of the model or the optimizer is laid out."""
        axes = self._distribution.get_variable_layout(variable).axes
        return jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(*axes))

    def new_optimizer(self, make: Callable[[], Any], model: Trainable) -> Any:
        """The optimizer that `make` builds, its state split as the weights are."""
        with self._distribution.scope():
            optimizer = make()
            optimizer.build(model.trainable_variables)
        return optimizer

    def numpy(self, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Variables as whole arrays, put together from all processes."""
        values = {path: variable.value for path, variable in variables.items()}
        if jax.process_count() > 1:
            values = multihost_utils.process_allgather(values, tiled=True)
        return {path: np.array(value, order="C") for path, value in values.items()}

    def batches(self, batches: Batches, start_step: int) -> Iterator[Any]:
        """The batches from a step on, each process's part read by that process; TensorFlow reads, on the CPU."""
        share = HostShare(jax.process_index(), jax.process_count())
        for batch in batches(start_step, share).as_numpy_iterator():
            yield jax.tree.map(self._shared_rows, batch)

    def mapped(self, model: Trainable, function: Callable[[Any], Any], combine: Combine) -> Callable[[Any], Any]:
        """`function` of a batch divided over the data axis; its results are whole, whichever way they combine."""
        on_all = ONE_DEVICE.mapped(model, function, combine)
        return lambda batch: on_all(jax.tree.map(lambda whole: jax.device_put(whole, self.row_sharding), batch))

    def memory_bytes(self) -> int | None:
        """The most memory in use on a device of this process; CPUs don't tell."""
        stats = [device.memory_stats() for device in self.mesh.local_devices]
        return max((memory["peak_bytes_in_use"] for memory in stats if memory), default=None)

    def highest(self, numbers: Sequence[float]) -> list[float]:
        """The highest of each number over the processes."""
        if jax.process_count() == 1:
            return list(numbers)
        said = multihost_utils.process_allgather(np.array(numbers, np.float32))
        return [float(number) for number in np.asarray(said).max(axis=0)]

    def start_profiler(self, folder: str) -> None:
        """Begins to record what the devices do."""
        jax.profiler.start_trace(folder)

    def stop_profiler(self) -> None:
        """Writes what was recorded."""
        jax.profiler.stop_trace()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within it, the loss of another process is a ScalecliError of one line."""
        try:
            yield
        except jax.errors.JaxRuntimeError as error:
            if jax.process_count() == 1:
                raise
            raise ScalecliError(
                f"another process of this run is gone ({type(error).__name__}); start all of them again, and the run "
                "goes on from its last checkpoint"
            ) from error

    @property
    def row_sharding(self) -> Any:
        """How a batch is laid out: rows over the data axis."""
        return jax.sharding.NamedSharding(self.mesh, jax.sharding.PartitionSpec(DATA))

    def _shared_rows(self, rows: np.ndarray) -> Any:
        """Rows that this process has read, as part of the whole batch."""
        return jax.make_array_from_process_local_data(self.row_sharding, rows)


class PlannedDevices(JaxDevices):
    """Devices that are not there: variables have shapes and layouts, but no values."""

    def new_model(self, make: Callable[[], Model]) -> Model:
        """The model that `make` builds."""
        return self.laid_out(make)

    def new_optimizer(self, make: Callable[[], Any], model: Trainable) -> Any:
        """The optimizer that `make` builds."""
        optimizer = make()
        with _without_values():
            optimizer.build(model.trainable_variables)
        return optimizer


@contextlib.contextmanager
def _without_values() -> Iterator[None]:
    """Within it, new variables get no values."""
    with keras.StatelessScope(initialize_variables=False):
        yield
    global_state.set_global_attribute("uninitialized_variables", [])  # the next scope would give them some


def open_jax(request: Request) -> JaxDevices:
    """All devices that JAX has, or with strategy `one` the first.

    Raises:
        ConfigurationError: the strategy is TensorFlow's, the processes can't be joined, or the model's devices do not
            divide those that there are.
    """
    if request.kind not in ("auto", "one"):
        raise ConfigurationError(
            f"--strategy {request.kind} is TensorFlow's; on the JAX backend auto takes all devices, and one the first"
        )
    _leave_gpus_to_jax()
    cluster = environment_cluster()
    if not jax.distributed.is_initialized():
        _join(cluster, request)
    cluster.check_joined(1 if request.kind == "one" else jax.process_count(), f"strategy {request.kind!r}")
    devices = jax.devices()[:1] if request.kind == "one" else jax.devices()
    model_parallel = request.parallel_on(len(devices))
    if len(devices) % model_parallel:
        raise ConfigurationError(
            f"--model-parallel {model_parallel} does not divide the {len(devices)} devices that JAX has here"
        )
    return JaxDevices(devices, model_parallel)


def _leave_gpus_to_jax() -> None:
    """Hides GPUs from TensorFlow, which reads the data, before it does anything: it would take the memory."""
    try:
        import tensorflow as tf
    except ImportError:  # what needs it says so
        return
    tf.config.set_visible_devices([], "GPU")


def _join(cluster: Cluster, request: Request) -> None:
    """Joins the processes that JAX's own variables name, else those of TF_CONFIG, else the hosts of a TPU slice."""
    try:
        if _COORDINATOR in os.environ:
            jax.distributed.initialize()
        elif len(cluster) > 1:
            jax.distributed.initialize(cluster.addresses[0], len(cluster), cluster.index)
        elif request.kind == "auto" and tpu_chips() and "tpu" in (jax.config.jax_platforms or "tpu").split(","):
            jax.distributed.initialize()
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(f"the processes can't be joined ({reason_of(error)[:200]})") from error
