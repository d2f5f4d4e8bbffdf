"""Devices by TensorFlow's strategies: one device, several GPUs, several hosts, a TPU or a slice of a pod."""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from scalecli.data.order import HostShare
from scalecli.devices import Batches, Combine, Devices, Model, Request, host_files
from scalecli.devices.cluster import Cluster, environment_cluster
from scalecli.devices.host_files import SHARED
from scalecli.devices.machine import INSTALL, tpu_chips
from scalecli.devices.one_device import ONE_DEVICE
from scalecli.errors import ConfigurationError, MissingError, ScalecliError, reason_of
from scalecli.manifest import Strategy
from scalecli.models.compiled import compiled
from scalecli.models.trainable import Trainable

# What TensorFlow raises when another worker is gone, is not the one it was, or has never come.
_LOST = (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError, tf.errors.CancelledError)


class TensorFlowDevices(Devices):
    """See `Devices`."""

    def __init__(self, strategy: tf.distribute.Strategy, kind: str, topology: str | None = None) -> None:
        self.distribute = strategy
        self.replicas = strategy.num_replicas_in_sync
        resolver = strategy.cluster_resolver
        self.hosts = strategy.extended.num_hosts if kind == "tpu" else 1
        self.chief = not (kind == "multi-worker" and resolver.task_id > 0)
        self.strategy = Strategy(kind=kind, replicas=self.replicas, topology=topology)

    def new_model(self, make: Callable[[], Model]) -> Model:
        """The model that `make` builds, a copy of its variables on each device."""
        with self.distribute.scope(), tf.variable_creator_scope(_computed_on_host):
            return make()

    def new_optimizer(self, make: Callable[[], Any], model: Trainable) -> Any:
        """The optimizer that `make` builds, a copy of its state for a model on each device."""
        with self.distribute.scope(), tf.variable_creator_scope(_computed_on_host):
            optimizer = make()
            optimizer.build(model.trainable_variables)
        return optimizer

    def numpy(self, variables: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Variables as arrays; every host has all of them."""
        with self._on_first_host():
            return {path: np.array(variable, order="C") for path, variable in variables.items()}

    def _on_first_host(self) -> Any:
        """A context for what must run on a host of the slice, which has variables that this process has not."""
        if self.hosts == 1:
            return contextlib.nullcontext()
        task = self.distribute.extended.worker_devices[0].rpartition("/")[0]
        return tf.device(f"{task}/device:CPU:0")

    def check_readable(self, files: Sequence[str]) -> None:
        """Has each host of a slice look for the files."""
        if self.hosts > 1:
            host_files.check_readable(self._host_names(), files)

    def send(self, files: Sequence[str]) -> None:
        """Writes the files on each host of a slice that has not the same."""
        if self.hosts > 1:
            host_files.send(self._host_names(), files)

    def _host_names(self) -> list[str]:
        return sorted({device.rpartition("/")[0] for device in self.distribute.extended.worker_devices})

    def batches(self, batches: Batches, start_step: int) -> Iterator[Any]:
        """The batches from a step on, each host's part read by that host."""

        def of_host(context: tf.distribute.InputContext) -> tf.data.Dataset:
            hosts = context.num_input_pipelines
            pieces = self.replicas // hosts  # each replica takes the next piece of its host
            return batches(start_step, HostShare(context.input_pipeline_id, hosts, pieces))

        found: Iterator[Any] = iter(self.distribute.distribute_datasets_from_function(of_host))
        return found

    def mapped(self, model: Trainable, function: Callable[[Any], Any], combine: Combine) -> Callable[[Any], Any]:
        """`function` of a batch, run on each replica's part of it, its results combined."""
        if self.strategy.kind == "one":  # a TPU of one core has variables that only its strategy can read
            return ONE_DEVICE.mapped(model, function, combine)
        one = compiled(model, function)

        def combined(found: Any) -> Any:
            if combine == "sum":
                return self.distribute.reduce(tf.distribute.ReduceOp.SUM, found, axis=None)
            return self.distribute.gather(found, axis=0)

        @tf.function(autograph=False)
        def on_all(batch: Any) -> Any:
            return tf.nest.map_structure(combined, self.distribute.run(one, (batch,)))

        def part(context: Any, whole: Any) -> Any:
            rows, number = whole.shape[0] // self.replicas, context.replica_id_in_sync_group
            return tf.convert_to_tensor(whole[number * rows : (number + 1) * rows])

        def split(whole: Any) -> Any:
            return self.distribute.experimental_distribute_values_from_function(lambda context: part(context, whole))

        return lambda batch: tf.nest.map_structure(np.asarray, on_all(tf.nest.map_structure(split, batch)))

    def replica(self) -> Any:
        """The replica whose part of a step is being traced: its number, and `all_reduce` with the others."""
        return tf.distribute.get_replica_context()

    def memory_bytes(self) -> int | None:
        """The most memory in use on a device of this process."""
        peaks = []
        for device in tf.config.list_logical_devices():
            with contextlib.suppress(ValueError, tf.errors.OpError):  # another host's
                peaks.append(tf.config.experimental.get_memory_info(device.name)["peak"])
        return max(peaks, default=0) or None  # a CPU may say 0

    def highest(self, numbers: Sequence[float]) -> list[float]:
        """The highest of each number over the processes."""
        if not isinstance(self.distribute, tf.distribute.MultiWorkerMirroredStrategy):
            return list(numbers)
        # Devices of one process say the same; the sum of one-hot rows is what everybody has said.
        workers, own = self.distribute.extended._num_workers, self.distribute.cluster_resolver.task_id
        table = np.zeros((workers, len(numbers)), np.float32)
        table[own] = numbers
        said = self.distribute.reduce(tf.distribute.ReduceOp.SUM, self._everywhere(table), axis=None)
        devices = self.replicas // workers
        return [float(number) for number in (said.numpy() / devices).max(axis=0)]

    def _everywhere(self, value: np.ndarray) -> Any:
        """The process' value, once for each of its devices."""
        constant = tf.constant(value)
        return self.distribute.experimental_distribute_values_from_function(lambda _: constant)

    def start_profiler(self, folder: str) -> None:
        """Begins to record what the devices do."""
        tf.profiler.experimental.start(folder)

    def stop_profiler(self) -> None:
        """Writes what was recorded."""
        tf.profiler.experimental.stop()

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Within it, the loss of another process is a ScalecliError of one line."""
        try:
            yield
        except _LOST as error:
            if self.strategy.kind not in ("multi-worker", "tpu"):
                raise
            # At its end TensorFlow would wait minutes for the one that is gone, deaf to signals.
            atexit.register(_end_at_once)
            raise ScalecliError(
                f"another worker of this run is gone ({type(error).__name__}); start all of them again, and the run "
                "goes on from its last checkpoint"
            ) from error
        except tf.errors.NotFoundError as error:
            if self.hosts == 1:
                raise
            raise MissingError(
                f"another host of this slice can't read what this one can ({reason_of(error)[:200]}); {SHARED}"
            ) from error


def _end_at_once() -> None:
    """Ends the process, of which nothing is left to do."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(ScalecliError.exit_code)


def _computed_on_host(create: Callable[..., Any], **options: Any) -> Any:
    """Creates a variable whose first value a CPU computes.

    Accelerators would compile each kind of weight by itself, and draw other numbers from the same seed.
    """
    value = options["initial_value"]

    def on_host() -> Any:
        with tf.device("CPU:0"):
            return tf.identity(value() if callable(value) else value)

    return create(**{**options, "initial_value": on_host})


def open_tensorflow(request: Request) -> TensorFlowDevices:
    """The strategy asked for; `auto` takes a TPU, then the workers of TF_CONFIG, then several GPUs, then one device.

    Raises:
        ConfigurationError: the devices are not there, or can't hold parts of a model.
    """
    # An evaluation compiles a function for each of its few shapes, and TensorFlow warns that this happens often.
    tf.get_logger().setLevel("ERROR")
    if request.model_parallel is not None and request.model_parallel > 1:
        raise ConfigurationError(
            f"--model-parallel {request.model_parallel}: TensorFlow's strategies give each device the whole model; "
            "KERAS_BACKEND=jax has model parallelism (pip install 'scalecli[jax]')"
        )
    for gpu in tf.config.list_physical_devices("GPU"):
        with contextlib.suppress(RuntimeError):  # it is in use already
            tf.config.experimental.set_memory_growth(gpu, True)
    if request.deterministic:
        tf.config.experimental.enable_op_determinism()
    cluster = environment_cluster()
    kind = "tpu" if request.tpu else _present(cluster) if request.kind == "auto" else request.kind
    cluster.check_joined(len(cluster) if kind == "multi-worker" else 1, f"strategy {kind!r}")
    match kind:
        case "tpu":
            return _tpu(request.tpu)
        case "multi-worker":
            return _multi_worker(cluster)
        case "mirrored":
            return _mirrored()
    return TensorFlowDevices(tf.distribute.get_strategy(), "one")


def _present(cluster: Cluster) -> str:
    """The kind of what this machine has and its environment names."""
    if tpu_chips() or tf.config.list_physical_devices("TPU") or os.environ.get("TPU_NAME"):
        return "tpu"
    if len(cluster) > 1:
        return "multi-worker"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "one"


def _tpu(name: str | None) -> TensorFlowDevices:
    # TPU_NAME is what guides call the machine: where that has chips they are meant.
    name = name or (not tpu_chips() and os.environ.get("TPU_NAME")) or "local"
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=name)
        if name != "local":
            # What is not the step's, such as tokenising, stays on this machine.
            tf.config.experimental_connect_to_cluster(resolver, make_master_device_default=False)
        system = tf.tpu.experimental.initialize_tpu_system(resolver)
        strategy = tf.distribute.TPUStrategy(resolver)
    except ImportError as error:
        raise ConfigurationError(f"--tpu {name}: finding it takes pip install 'scalecli[tpu]'") from error
    except Exception as error:  # of many kinds: no driver, no such name, no rights, no answer
        reason, ways_out = reason_of(error)[:200], "--tpu names another, and --strategy one takes none"
        if "'ConfigureDistributedTPU'" in str(error):
            chips = f"this machine's {tpu_chips()[0]}" if tpu_chips() else "a TPU VM"
            reason = "this TensorFlow is not the one for TPUs"
            ways_out = f"{chips} takes {INSTALL}, or KERAS_BACKEND=jax; {ways_out}"
        raise ConfigurationError(f"--strategy tpu: no TPU {name!r} ({reason}); {ways_out}") from error
    topology = "x".join(map(str, system.mesh_shape[:-1]))
    return TensorFlowDevices(strategy, "tpu", topology)


def _multi_worker(cluster: Cluster) -> TensorFlowDevices:
    if len(cluster) < 2:
        raise ConfigurationError(
            "--strategy multi-worker: TF_CONFIG names no other worker; set it on each host, "
            "such as {'cluster': {'worker': ['a:2222', 'b:2222']}, 'task': {'type': 'worker', 'index': 0}}"
        )
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec({"worker": cluster.addresses}), task_type="worker", task_id=cluster.index, rpc_layer="grpc"
    )
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy(resolver)
    except (RuntimeError, ValueError, tf.errors.OpError) as error:
        reason = reason_of(error)[:200]
        raise ConfigurationError(f"--strategy multi-worker: the workers can't be joined ({reason})") from error
    return TensorFlowDevices(strategy, "multi-worker")


def _mirrored() -> TensorFlowDevices:
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    if len(devices) < 2:
        raise ConfigurationError(
            f"--strategy mirrored: this machine has {len(devices)} device ({devices[0].name}); --strategy one uses it"
        )
    # NCCL is TensorFlow's own choice for GPUs; CPUs, which tests use, have none.
    reduction = None if gpus else tf.distribute.ReductionToOneDevice()
    names = [device.name for device in devices]
    return TensorFlowDevices(tf.distribute.MirroredStrategy(names, cross_device_ops=reduction), "mirrored")
