"""scalecli's command line where there is an emulated TPU; `then` separates commands that run in one process.

python -m tests.devices.emulated_cli CORES pretrain ...              a TPU of this machine
python -m tests.devices.emulated_cli CORES@PORT,PORT pretrain ...    a slice, whose hosts are workers on these ports
python -m tests.devices.emulated_cli CORES worker --port PORT        such a worker
"""

import os
import sys
from itertools import groupby

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import tensorflow as tf
import tensorflow_text  # noqa: F401  see `forked`

from scalecli.cli.main import main, run
from tests.devices import emulated_tpu


def carry_out(tpu, *arguments):
    """Runs the commands and exits as the last one does, or the first that fails."""
    cores, _, ports = tpu.partition("@")
    if arguments[0] == "worker":
        _serve_with(int(cores))
    else:
        emulated_tpu.make_cores(int(cores))
        emulated_tpu.install(int(cores), ports.split(",") if ports else ())
        emulated_tpu.compute()
    *before, last = [list(group) for is_then, group in groupby(arguments, "then".__eq__) if not is_then]
    for command in before:
        if code := run(command):
            sys.exit(code)
    main(last)


def _serve_with(cores):
    """Gives the server that the worker starts as many logical CPUs, its cores."""
    real, config = tf.distribute.Server, tf.compat.v1.ConfigProto(device_count={"CPU": cores + 1})
    tf.distribute.Server = lambda *arguments, **options: real(*arguments, **options, config=config)


if __name__ == "__main__":
    carry_out(*sys.argv[1:])
