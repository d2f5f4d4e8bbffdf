"""The options of `pretrain` and `finetune` that say how a model is trained and saved, and what is made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from scalecli.cli.options.devices import device_options
from scalecli.cli.options.files import cache_option, run_option
from scalecli.cli.options.groups import Decorator, number_option, option_group
from scalecli.cli.options.values import learning_rate, positive, steps_between
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
        number_option("--steps", steps, "Optimizer steps of the whole run."),
        number_option("--batch", batch, "Examples of one optimizer step."),
        number_option(
            "--accumulation",
            1,
            "Compute each batch in N parts, one after another, and add up their gradients; takes less memory.",
        ),
        click.option(
            "--optimizer",
            type=click.Choice(OPTIMIZERS),
            default="adafactor",
            show_default=True,
            is_eager=True,
            help="T5's Adafactor, whose steps are relative to the size of the weights, or AdamW.",
        ),
        number_option(
            "--learning-rate", rate, "Highest learning rate of the schedule.", "RATE", callback=learning_rate
        ),
        click.option(
            "--schedule",
            type=click.Choice(SCHEDULES),
            default=schedule,
            show_default=True,
            help="How the learning rate changes after the warm-up; linear and cosine reach 0 at --steps.",
        ),
        number_option(
            "--warmup",
            warmup,
            "Steps before the learning rate falls; with every schedule but inverse-square-root it rises to its "
            "highest in them.",
        ),
        number_option("--weight-decay", 0.0, "Weight decay (AdamW only; matrices only).", "X"),
        number_option("--dropout", dropout, "Share of activations that are dropped in training.", "RATE"),
        number_option("--z-loss", 1e-4, "Weight of log(Z)^2 in the loss, which keeps the logits small.", "X"),
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
        number_option("--seed", 0, "Seed of the initial weights, the order of the data and the dropout."),
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
    number_option("--keep", 2, "Keep the last N checkpoints."),
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
