"""What runs on the hosts of a TPU slice: a server that computes what the coordinator, which runs scalecli, sends."""

from __future__ import annotations

import signal

from scalecli.devices.machine import check_tensorflow
from scalecli.errors import ScalecliError, reason_of


def serve(port: int) -> None:
    """Serves until the process is ended.

    Raises:
        ConfigurationError: TensorFlow can't be imported (see `machine.check_tensorflow`).
        ScalecliError: the port can't be opened.
    """
    check_tensorflow()
    import tensorflow as tf
    import tensorflow_text  # noqa: F401  its ops are in the graphs that come from the coordinator

    try:
        # Only TensorFlow for TPUs has it: what libtpu needs to know, from the TPU VM's metadata.
        from tensorflow.python.tools import grpc_tpu_worker
    except ImportError:
        pass
    else:
        grpc_tpu_worker.setup_env_vars()
    try:
        cluster = tf.train.ClusterSpec({"tpu_worker": [f"localhost:{port}"]})
        server = tf.distribute.Server(cluster, job_name="tpu_worker", task_index=0)
    except tf.errors.OpError as error:
        raise ScalecliError(f"--port {port}: can't be served ({reason_of(error)[:200]})") from error
    for number in (signal.SIGINT, signal.SIGTERM):  # Python's own handlers run when the server ends: never
        signal.signal(number, signal.SIG_DFL)
    server.join()
