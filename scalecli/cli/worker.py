"""`scalecli worker`: a host of a TPU slice."""

from __future__ import annotations

import click

from scalecli.cli.options.groups import Command
from scalecli.cli.output.terminal import say


@click.command("worker", cls=Command)
@click.option(
    "--port", type=click.IntRange(1, 65535), default=8470, show_default=True, help="Port that the worker listens on."
)
def command(port: int) -> None:
    """Serve this host's TPU to the scalecli that trains on the whole slice.

    Run it on all hosts of a slice, the first one too, then on the first one the subcommand itself with --tpu NAME or
    --tpu grpc://HOST:8470,grpc://HOST:8470 ... It runs until it is ended, and serves one run after another; when one
    worker is lost all must be started again.
    """
    from scalecli.devices.worker import serve

    say(f"worker: importing TensorFlow, then serving port {port}")
    serve(port)
