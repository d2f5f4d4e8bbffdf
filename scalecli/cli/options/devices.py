"""The options that say which devices a run uses."""

from __future__ import annotations

from typing import Any

import click

from scalecli.cli.options.groups import option_group
from scalecli.devices import KINDS, Request, prepare_environment
from scalecli.errors import ConfigurationError
from scalecli.shape import Shape, presets

device_options = option_group(
    click.option(
        "--strategy",
        type=click.Choice(KINDS),
        default="auto",
        show_default=True,
        help="TensorFlow's strategy: one device, all GPUs of this machine (mirrored), several machines by TF_CONFIG "
        "(multi-worker), or a TPU; auto takes a TPU, else several machines, else all GPUs, else one device.",
    ),
    click.option("--tpu", metavar="NAME", help="Name or address of the TPU. [default: this machine's, else $TPU_NAME]"),
    click.option(
        "--model-parallel",
        type=int,
        metavar="N",
        help="Devices that share one replica of the model (JAX backend only). [default: the papers' 2 for large, 8 "
        "for xl and 32 for xxl, where these divide the number of devices; else 1]",
    ),
    click.option(
        "--deterministic",
        is_flag=True,
        help="On GPUs: use slower kernels whose results are the same bit for bit in every run.",
    ),
    heading="Devices",
)


def devices_asked_for(options: dict[str, Any], architecture: str, shape: Shape) -> Request:
    """Takes the device options out of `options`, for a model of that shape.

    Raises:
        ConfigurationError: two that don't go together, or a TensorFlow that can't be imported.
    """
    asked = (options.pop("strategy"), options.pop("tpu"), options.pop("model_parallel"))
    usual = _usual_parallel(architecture, shape)
    request = Request(*asked, usual_parallel=usual, deterministic=options.pop("deterministic"))
    prepare_environment(request)
    return request


def _usual_parallel(architecture: str, shape: Shape) -> int:
    """The devices that held a model of that size in the papers, whatever its depth; 1 where so many can't share it."""
    from scalecli.analysis.papers.published import published_papers
    from scalecli.architectures import DEFAULT_ARCHITECTURE, build_spec
    from scalecli.costs.hardware import Machine
    from scalecli.costs.layout import local_weights

    setup = published_papers()["scale-efficiently"].setup
    sizes = presets(DEFAULT_ARCHITECTURE)
    for size, devices in (setup.model_parallelism if setup else {}).items():
        if (sizes[size].d_model, sizes[size].heads) == (shape.d_model, shape.heads):
            try:
                list(local_weights(build_spec(architecture, shape), Machine("tpu-v3", devices, devices)))
            except ConfigurationError:
                return 1
            return devices
    return 1
