"""The options of `pretrain` and `finetune` that say how a model is trained and saved, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scalecli.cli.options.devices import device_options
from scalecli.cli.options.files import cache_option, run_option
from scalecli.cli.options.groups import Decorator, option_group
from scalecli.cli.options.values import finite, learning_rate, positive, steps_between
from scalecli.cli.output.formats import format_option
from scalecli.costs.hardware import PRECISIONS
from scalecli.costs.memory import OPTIMIZERS
from scalecli.training.schedules import SCHEDULES

if TYPE_CHECKING:
    from scalecli.runs.recipe import Recipe
    from scalecli.training.checkpoints import Saving

VALIDATIONS_PER_RUN = 10
MOST_STEPS_BETWEEN_VALIDATIONS = 5_000


def recipe_options(
    *, steps: int, batch: int, schedule: str, learning_rate: float, warmup: int, dropout: float
) -> Decorator:
    """Adds the options of `Recipe` and `Saving` with a subcommand's own defaults."""
    return option_group(
        _training_options(steps, batch, schedule, learning_rate, warmup, dropout),
        _checkpoint_options,
        device_options,
        _measuring_options,
    )


def output_options(run_help: str) -> Decorator:
    """Adds the options of a training run that say what it writes, and where; `run_help` is the help of --run."""
    return option_group(
        run_option(run_help),
        click.option("--dry-run", is_flag=True, help="Show the configuration and its cost, and start nothing."),
        click.option(
            "--show-examples",
            type=click.IntRange(1, 1_000_000),
            metavar="N",
            help="Show N examples as the model will see them, and start nothing.",
        ),
        format_option,
        cache_option,
        heading="Output",
    )


def _training_options(steps: int, batch: int, schedule: str, rate: float, warmup: int, dropout: float) -> Decorator:
    return option_group(
        click.option(
            "--steps", type=int, default=steps, show_default=True, metavar="N", help="Optimizer steps of the whole run."
        ),
        click.option(
            "--batch", type=int, default=batch, show_default=True, metavar="N", help="Examples of one optimizer step."
        ),
        click.option(
            "--accumulation",
            type=int,
            default=1,
            show_default=True,
            metavar="N",
            help="Compute each batch in N parts, one after another, and add up their gradients; takes less memory.",
        ),
        click.option(
            "--optimizer",
            type=click.Choice(OPTIMIZERS),
            default="adafactor",
            show_default=True,
            is_eager=True,
            help="T5's Adafactor, whose steps are relative to the size of the weights, or AdamW.",
        ),
        click.option(
            "--learning-rate",
            type=float,
            callback=learning_rate,
            default=rate,
            show_default=True,
            metavar="RATE",
            help="Highest learning rate of the schedule.",
        ),
        click.option(
            "--schedule",
            type=click.Choice(SCHEDULES),
            default=schedule,
            show_default=True,
            help="How the learning rate changes after the warm-up; linear and cosine reach 0 at --steps.",
        ),
        click.option(
            "--warmup",
            type=int,
            default=warmup,
            show_default=True,
            metavar="N",
            help="Steps before the learning rate falls; with every schedule but inverse-square-root it rises to its "
            "highest in them.",
        ),
        click.option(
            "--weight-decay",
            type=float,
            callback=finite,
            default=0.0,
            show_default=True,
            metavar="X",
            help="Weight decay (AdamW only; matrices only).",
        ),
        click.option(
            "--dropout",
            type=float,
            callback=finite,
            default=dropout,
            show_default=True,
            metavar="RATE",
            help="Share of activations that are dropped in training.",
        ),
        click.option(
            "--z-loss",
            type=float,
            callback=finite,
            default=1e-4,
            show_default=True,
            metavar="X",
            help="Weight of log(Z)^2 in the loss, which keeps the logits small.",
        ),
        click.option(
            "--precision",
            type=click.Choice(PRECISIONS),
            default="float32",
            show_default=True,
            help="Precision of matrix products and activations; weights, norms and losses are always float32.",
        ),
        click.option(
            "--rematerialise",
            is_flag=True,
            help="Compute each layer's activations again in the backward pass; slower, but takes less memory.",
        ),
        click.option(
            "--seed",
            type=int,
            default=0,
            show_default=True,
            metavar="N",
            help="Seed of the initial weights, the order of the data and the dropout.",
        ),
        heading="Training",
    )


_checkpoint_options = option_group(
    click.option(
        "--validate-every",
        type=int,
        metavar="N",
        help=f"Validate every N steps. [default: a tenth of --steps, at most {MOST_STEPS_BETWEEN_VALIDATIONS:,}]",
    ),
    click.option(
        "--checkpoint-every", type=int, metavar="N", help="Save a checkpoint every N steps. [default: at validations]"
    ),
    click.option("--keep", type=int, default=2, show_default=True, metavar="N", help="Keep the last N checkpoints."),
    click.option(
        "--keep-step",
        type=int,
        callback=positive,
        multiple=True,
        metavar="STEP",
        help="Save a checkpoint at this step and never remove it; may be repeated.",
    ),
    heading="Checkpoints",
)
_measuring_options = option_group(
    click.option(
        "--peak-flops",
        type=float,
        callback=positive,
        metavar="X",
        help="Peak FLOPs per second of all devices together; progress then shows how much of it is used.",
    ),
    click.option(
        "--profile",
        callback=steps_between,
        metavar="START:STOP",
        help="Record the steps after START up to STOP for TensorBoard's profiler.",
    ),
    heading="Devices",
    rare=True,
)


def recipe_and_saving(options: dict[str, Any]) -> tuple[Recipe, Saving]:
    """Takes the options of `recipe_options` out of `options`, and builds what they describe.

    Raises:
        ConfigurationError: a value that can't be.
    """
    from scalecli.runs.recipe import Recipe
    from scalecli.training.checkpoints import Saving
    from scalecli.training.schedules import Schedule

    steps = options.pop("steps")
    schedule = Schedule(options.pop("schedule"), options.pop("learning_rate"), options.pop("warmup"), steps)
    same = ("batch", "accumulation", "dropout", "z_loss", "precision", "seed", "rematerialise", "optimizer")
    recipe = Recipe(steps, schedule=schedule, **{name: options.pop(name) for name in (*same, "weight_decay")})
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
