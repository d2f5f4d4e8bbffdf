"""scalecli's command line where there is an emulated TPU; `then` separates commands that run in one process.

python -m tests.devices.emulated_cli CORES pretrain ...              a TPU of this machine
python -m tests.devices.emulated_cli CORES@PORT,PORT pretrain ...    a slice, whose hosts are workers on these ports
python -m tests.devices.emulated_cli CORES worker --port PORT        such a worker
"""

import sys
from itertools import groupby

import tensorflow as tf

from scalecli.cli.main import main, run
from tests.devices import emulated_tpu


def serve_with(cores):
    """Gives the server that the worker starts as many logical CPUs, its cores."""
    real, config = tf.distribute.Server, tf.compat.v1.ConfigProto(device_count={"CPU": cores + 1})
    tf.distribute.Server = lambda *arguments, **options: real(*arguments, **options, config=config)


if __name__ == "__main__":
    cores, _, ports = sys.argv[1].partition("@")
    if sys.argv[2] == "worker":
        serve_with(int(cores))
    else:
        emulated_tpu.install(int(cores), ports.split(",") if ports else ())
        emulated_tpu.compute()
    *before, last = [list(group) for is_then, group in groupby(sys.argv[2:], "then".__eq__) if not is_then]
    for command in before:
        if code := run(command):
            sys.exit(code)
    main(last)
