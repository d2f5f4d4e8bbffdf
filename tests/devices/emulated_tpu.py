"""TPU cores that are not there: TensorFlow's TPUStrategy on logical CPU devices, CPU:1, CPU:2 ... with CPU:0 as host.

`make_cores` comes first, before TensorFlow looks at its devices. `install` puts the resolver and the topology of such a
machine in the place of a real TPU's; nothing else differs, and what is traced is the graph that a TPU would get.
`compute` also replaces `tpu.replicate`, so that it can run: the function is traced once for each replica, on its core,
with collective operations for what passes between replicas. `setattr` may be pytest's.
"""

import itertools

import numpy as np
import tensorflow as tf
from tensorflow.python.client import session
from tensorflow.python.distribute import tpu_strategy
from tensorflow.python.ops import collective_ops
from tensorflow.python.tpu import device_assignment, tpu_function, tpu_replication, tpu_system_metadata
from tensorflow.python.tpu.ops import tpu_ops
from tensorflow.python.tpu.topology import Topology

from scalecli.devices import Request, open_devices

_LOCAL = "/job:localhost/replica:0/task:0/device"
_calls = itertools.count(1)


class Resolver(tf.distribute.cluster_resolver.ClusterResolver):
    """What TPUStrategy asks of a TPUClusterResolver: each host has `cores`; without `ports` it is this process alone.

    With them the hosts are workers that listen on these ports of this machine, each with as many logical CPUs.
    """

    cores = 1
    ports = ()
    environment = ""

    def __init__(self, tpu=None):
        self.task_type, self.task_id = ("worker", 0) if self.ports else (None, None)
        self.rpc_layer = "grpc" if self.ports else None

    def get_tpu_system_metadata(self):
        hosts = max(len(self.ports), 1)
        devices = [session._DeviceAttributes(_core(n, "TPU", 0), "TPU", 0, 0) for n in range(hosts * self.cores)]
        return tpu_system_metadata.TPUSystemMetadata(len(devices), hosts, self.cores, topology(), devices)

    def master(self, *_, **__):
        return f"grpc://localhost:{self.ports[0]}" if self.ports else ""

    def cluster_spec(self):
        return tf.train.ClusterSpec({"worker": [f"localhost:{port}" for port in self.ports]} if self.ports else {})

    def num_accelerators(self, *_, **__):
        return {"TPU": self.cores}

    def get_job_name(self):
        return "worker"

    def get_coordination_service_leader(self):
        return "/job:worker/task:0"


class _Assignment(device_assignment.DeviceAssignment):
    def tpu_device(self, replica=0, logical_core=0, job=None):
        return _core(replica)

    def host_device(self, replica=0, logical_core=0, job=None):
        return f"{_host(replica)}:CPU:0"


def _host(replica):
    return f"/job:worker/replica:0/task:{replica // Resolver.cores}/device" if Resolver.ports else _LOCAL


def _core(replica, kind="CPU", first=1):
    return f"{_host(replica)}:{kind}:{replica % Resolver.cores + first}"


def topology():
    """Each host has chips of two cores, or one of one."""
    chips, of_chip = max(Resolver.cores // 2, 1), min(Resolver.cores, 2)
    hosts = max(len(Resolver.ports), 1)
    places = [
        [(h * chips + chip, 0, 0, core) for chip in range(chips) for core in range(of_chip)] for h in range(hosts)
    ]
    return Topology(mesh_shape=(hosts * chips, 1, 1, of_chip), device_coordinates=np.array(places, np.int32))


def make_cores(cores):
    cpu = tf.config.list_physical_devices("CPU")[0]
    tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * (cores + 1))


def install(cores, ports=(), setattr=setattr):
    """The next strategy has so many of the cores, as `Resolver.cores` says from then on."""
    Resolver.cores, Resolver.ports = cores, ports
    real = tf.distribute.TPUStrategy

    def strategy(resolver):
        there = topology()
        assignment = _Assignment(there, there.device_coordinates.reshape(-1, 1, 4))
        return real(resolver, experimental_device_assignment=assignment)

    setattr(tf.distribute.cluster_resolver, "TPUClusterResolver", Resolver)
    setattr(tf.tpu.experimental, "initialize_tpu_system", lambda resolver: topology())
    setattr(tf.distribute, "TPUStrategy", strategy)


def compute(setattr=setattr):
    """Has the cores compute what they are given, from now on."""
    setattr(tpu_strategy.tpu, "replicate", _replicate)


def tpu_of(cores):
    """The devices of a TPU with as many cores, once it is installed."""
    Resolver.cores = cores
    devices = open_devices(Request("tpu"))
    assert (devices.replicas, devices.strategy.kind) == (cores, "tpu")
    return devices


class _Replica(tpu_replication.TPUReplicateContext):
    """Within it a distributed variable is that of one replica, and nothing is marked for a TPU."""

    def __init__(self, number, replicas):
        super().__init__(name=f"cluster_{number}", num_replicas=replicas, pivot=tf.no_op(name="pivot"))
        self._replica = number

    def get_replicated_var_handle(self, name, handle_id, vars_, is_mirrored=False, is_packed=False):
        variables = vars_[0]._distributed_variables if is_packed else vars_
        _, graph = tpu_replication._enclosing_tpu_context_and_graph()
        return graph.capture(variables[self._replica].handle)

    def _AddOpInternal(self, op):  # noqa: N802
        pass

    def AddValue(self, x):  # noqa: N802
        return x


def _replicate(computation, inputs, **_):
    replicas, call = len(inputs), next(_calls)
    return [_traced(computation, arguments, number, replicas, call) for number, arguments in enumerate(inputs)]


def _traced(computation, arguments, number, replicas, call):
    """What one replica computes; the same exchange has the same key on all of them."""
    keys = itertools.count(call * 10_000)

    def all_reduce(x, *_, **__):
        return collective_ops.all_reduce_v2(x, replicas, replicas, next(keys), communication_hint="ring")

    def from_first(x, *_, **__):  # the only use that TPUStrategy makes of all_to_all
        return all_reduce(tf.stack(x) if number == 0 else tf.zeros_like(tf.stack(x)))

    before = tpu_ops.cross_replica_sum, tpu_ops.all_to_all
    tpu_ops.cross_replica_sum, tpu_ops.all_to_all = all_reduce, from_first
    context = _Replica(number, replicas)
    try:
        with tf.device(_core(number)), tpu_function.tpu_shard_context(replicas):
            context.Enter()
            try:
                return [tf.identity(each) for each in tf.nest.flatten(computation(*arguments))]
            finally:
                context.Exit()
    finally:
        tpu_ops.cross_replica_sum, tpu_ops.all_to_all = before
