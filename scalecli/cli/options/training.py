"""The options that the subcommands share which make runs, and what they make of them."""

from __future__ import annotations

import math
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from scalecli.cli.options.groups import Decorator, option_group
from scalecli.costs.hardware import PRECISIONS
from scalecli.costs.memory import OPTIMIZERS
from scalecli.devices import KINDS, Request, prepare_environment
from scalecli.errors import ConfigurationError, UsageError
from scalecli.storage.files import is_remote
from scalecli.training.schedules import SCHEDULES

if TYPE_CHECKING:
    from scalecli.runs.recipe import Recipe
    from scalecli.shape import Shape
    from scalecli.training.checkpoints import Saving

VALIDATIONS_PER_RUN = 10
MOST_SHOWN = 1_000_000  # examples
MOST_STEPS_BETWEEN_VALIDATIONS = 5_000


def run_address(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A callback: an absolute path, so that even `.` has a name and a parent, or an address in a bucket.

    Raises:
        UsageError: it is remote, but in no bucket.
    """
    if value is None or not is_remote(value):
        return value and os.path.abspath(value)
    if not value.startswith("gs://"):
        raise UsageError(f"{value}: a local directory or gs://BUCKET/FOLDER is accepted")
    return value.rstrip("/")


def local_path(ctx: click.Context, param: click.Parameter, value: str | None) -> Path | None:
    """A callback: the path of a directory to write to, which is text until here, since `Path` makes gs:/b of gs://b.

    Raises:
        ConfigurationError: it is in a bucket.
    """
    if value is not None and is_remote(value):
        raise ConfigurationError(f"{value}: what is written to must be a local directory; copy it to the bucket later")
    return None if value is None else Path(value)


def finite(ctx: click.Context, param: click.Parameter, value: float | None) -> float | None:
    """A callback: the number, where it is one.

    Raises:
        ConfigurationError: it is infinite or no number.
    """
    if value is not None and not math.isfinite(value):
        raise ConfigurationError(f"{param.opts[0]} is {value}; a finite number is accepted")
    return value


def _rate(ctx: click.Context, param: click.Parameter, value: float) -> float | None:
    """A callback: a finite rate, and not a default that is for another optimizer."""
    if ctx.params["optimizer"] == "adamw" and ctx.get_parameter_source("learning_rate") is ParameterSource.DEFAULT:
        raise UsageError(f"--optimizer adamw: give --learning-rate; its default, {value:g}, is for adafactor")
    return finite(ctx, param, value)


def _positive(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
    """A callback, of options that may be repeated too."""
    for each in value if isinstance(value, tuple) else (value,):
        if each is not None and not 0 < each < math.inf:
            raise ConfigurationError(f"{param.opts[0]} is {each}; a number above 0 is accepted")
    return value


def _steps_between(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    """A callback: the two steps of START:STOP.

    Raises:
        ConfigurationError: it has another form, or STOP is not after START.
    """
    if value is None:
        return None
    start, _, stop = value.partition(":")
    if not (start.isdecimal() and stop.isdecimal() and int(start) < int(stop)):
        raise ConfigurationError(f"{param.opts[0]} {value}: START:STOP is accepted, such as 100:110")
    return int(start), int(stop)


def run_option(help: str) -> Decorator:
    """Adds `--run`, which arrives as `run_address` makes it."""
    return click.option("--run", type=click.Path(), callback=run_address, metavar="DIRECTORY", help=help)


DEVICE_OPTIONS: tuple[Decorator, ...] = (
    click.option(
        "--strategy",
        type=click.Choice(KINDS),
        default="auto",
        show_default=True,
        help="Devices: a TPU, several hosts by TF_CONFIG, several GPUs, or one; auto takes the first that is there.",
    ),
    click.option("--tpu", metavar="NAME", help="A TPU's name or address. [default: this machine's, else TPU_NAME's]"),
    click.option(
        "--model-parallel",
        type=int,
        help="Devices that hold a model together, on the JAX backend. [default: the papers' 2 for large, 8 for xl and "
        "32 for xxl, where they divide the devices; else 1]",
    ),
    click.option(
        "--deterministic",
        is_flag=True,
        help="On GPUs, kernels that give the same bits every time, so that a resumed run does; they are slower.",
    ),
)
device_options = option_group(*DEVICE_OPTIONS)


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
    from scalecli.shape import presets

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


def recipe_options(
    *, steps: int, batch: int, schedule: str, learning_rate: float, warmup: int, dropout: float
) -> Decorator:
    """Adds the options of `Recipe` and `Saving` with a subcommand's own defaults."""
    options: list[Decorator] = [
        click.option("--steps", type=int, default=steps, show_default=True, help="Optimizer steps of the whole run."),
        click.option("--batch", type=int, default=batch, show_default=True, help="Examples of one optimizer step."),
        click.option(
            "--accumulation", type=int, default=1, show_default=True, help="Parts that a batch is worked through in."
        ),
        click.option(
            "--optimizer",
            type=click.Choice(OPTIMIZERS),
            default="adafactor",
            show_default=True,
            is_eager=True,
            help="T5's Adafactor, whose steps are relative to the weights' size, or AdamW.",
        ),
        click.option(
            "--weight-decay", type=float, callback=finite, default=0.0, show_default=True, help="Of AdamW, on matrices."
        ),
        click.option("--schedule", type=click.Choice(SCHEDULES), default=schedule, show_default=True),
        click.option(
            "--learning-rate",
            type=float,
            callback=_rate,
            default=learning_rate,
            show_default=True,
            help="The schedule's highest rate.",
        ),
        click.option("--warmup", type=int, default=warmup, show_default=True, help="Warm-up steps of the schedule."),
        click.option("--dropout", type=float, callback=finite, default=dropout, show_default=True),
        click.option(
            "--z-loss",
            type=float,
            callback=finite,
            default=1e-4,
            show_default=True,
            help="Weight of log(Z)^2 in the loss.",
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="float32",
            show_default=True,
            help="Of matrix products and activations; weights, norms and losses are float32.",
        ),
        click.option("--seed", type=int, default=0, show_default=True, help="Of weights, data order and dropout."),
        click.option(
            "--validate-every",
            type=int,
            help=f"Steps from one validation to the next. [default: a tenth of --steps, at most "
            f"{MOST_STEPS_BETWEEN_VALIDATIONS:,}]",
        ),
        click.option(
            "--checkpoint-every", type=int, help="Steps from one checkpoint to the next. [default: as validations]"
        ),
        click.option("--keep", type=int, default=2, show_default=True, help="How many of the last checkpoints stay."),
        click.option(
            "--keep-step",
            type=int,
            callback=_positive,
            multiple=True,
            metavar="STEP",
            help="Save a checkpoint at this step and never remove it; may be repeated.",
        ),
        click.option("--rematerialise", is_flag=True, help="Keep less of each layer, and compute it again backwards."),
        click.option(
            "--profile",
            callback=_steps_between,
            metavar="START:STOP",
            help="Record the steps after START up to STOP for TensorBoard's profiler.",
        ),
        click.option(
            "--peak-flops",
            type=float,
            callback=_positive,
            help="Peak FLOPs per second of the devices, to show how much of it is used.",
        ),
        click.option("--dry-run", is_flag=True, help="Show configuration and cost, and start nothing."),
        *DEVICE_OPTIONS,
        cache_option,
    ]
    return option_group(*options)


def text_field_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--text-field NAME`."""
    return click.option(
        "--text-field", metavar="NAME", help="The field that holds the text of a record. [default: text]"
    )(function)


def cache_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--cache-directory`."""
    return click.option(
        "--cache-directory",
        type=click.Path(file_okay=False),
        callback=local_path,
        help="Where tokenised text and fetched files are kept. [default: the user's cache]",
    )(function)


def cache_directory(given: Path | None) -> Path:
    """The directory that the user gave, or the system's place for caches."""
    if given is not None:
        return given
    import platformdirs

    return Path(platformdirs.user_cache_dir("scalecli", appauthor=False))


def recipe_and_saving(options: dict[str, Any]) -> tuple[Recipe, Saving]:
    """Takes the shared options out of `options`, and builds what they describe.

    Raises:
        ConfigurationError: a value that can't be.
    """
    from scalecli.runs.recipe import Recipe
    from scalecli.training.checkpoints import Saving
    from scalecli.training.schedules import Schedule

    steps = options.pop("steps")
    recipe = Recipe(
        steps=steps,
        schedule=Schedule(options.pop("schedule"), options.pop("learning_rate"), options.pop("warmup"), steps),
        **{
            name: options.pop(name)
            for name in (
                "batch",
                "accumulation",
                "dropout",
                "z_loss",
                "precision",
                "seed",
                "rematerialise",
                "optimizer",
                "weight_decay",
            )
        },
    )
    regular = max(1, min(MOST_STEPS_BETWEEN_VALIDATIONS, steps // VALIDATIONS_PER_RUN))
    validate_every, checkpoint_every = options.pop("validate_every"), options.pop("checkpoint_every")
    saving = Saving(
        validate_every=regular if validate_every is None else validate_every,
        checkpoint_every=regular if checkpoint_every is None else checkpoint_every,
        keep=options.pop("keep"),
        named=options.pop("keep_step"),
        profile=options.pop("profile"),
    )
    return recipe, saving


def this_command_line() -> str:
    """The command as it was typed, to be kept in the manifest."""
    return shlex.join(["scalecli", *sys.argv[1:]])
