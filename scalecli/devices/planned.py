"""TPU cores that are not there, on TensorFlow: the step of one of so many replicas can be traced for XLA, not run."""

from __future__ import annotations

from typing import Any

import tensorflow as tf
from tensorflow.compiler.tf2xla.ops import gen_xla_ops

from scalecli.devices.tensorflow import TensorFlowDevices


class PlannedReplicas(TensorFlowDevices):
    """Replicas whose variables are made once, on this machine, and whose exchange is XLA's, as under TPUStrategy."""

    def __init__(self, replicas: int) -> None:
        super().__init__(tf.distribute.get_strategy(), "one")
        self.replicas = replicas

    def replica(self) -> _Replica:
        """One of them."""
        return _Replica(self.replicas)


class _Replica:
    """What a step needs of `tf.distribute.ReplicaContext`."""

    def __init__(self, replicas: int) -> None:
        self._groups = [list(range(replicas))]

    @property
    def replica_id_in_sync_group(self) -> Any:
        return gen_xla_ops.xla_replica_id()

    def all_reduce(self, operation: tf.distribute.ReduceOp, values: Any) -> Any:
        assert operation is tf.distribute.ReduceOp.SUM
        return tf.nest.map_structure(
            lambda x: gen_xla_ops.xla_all_reduce(x, self._groups, "Add", "CrossReplica"), values
        )
