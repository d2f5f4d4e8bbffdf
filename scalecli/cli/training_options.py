"""The options that `pretrain` and `finetune` share, and what they make of them."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from scalecli.runs.recipe import Recipe
    from scalecli.training.checkpoints import Saving

SCHEDULES = ("inverse-square-root", "constant", "linear", "cosine")
PRECISIONS = ("float32", "bfloat16")
VALIDATIONS_PER_RUN = 10
MOST_STEPS_BETWEEN_VALIDATIONS = 5_000


def recipe_options(
    *, steps: int, batch: int, schedule: str, learning_rate: float, warmup: int, dropout: float
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Adds the options of `Recipe` and `Saving` with a subcommand's own defaults."""
    options: list[Callable[[Callable[..., Any]], Callable[..., Any]]] = [
        click.option("--steps", type=int, default=steps, show_default=True, help="Optimizer steps of the whole run."),
        click.option("--batch", type=int, default=batch, show_default=True, help="Examples of one optimizer step."),
        click.option(
            "--accumulation", type=int, default=1, show_default=True, help="Parts that a batch is worked through in."
        ),
        click.option("--schedule", type=click.Choice(SCHEDULES), default=schedule, show_default=True),
        click.option(
            "--learning-rate", type=float, default=learning_rate, show_default=True, help="The schedule's highest rate."
        ),
        click.option("--warmup", type=int, default=warmup, show_default=True, help="Warm-up steps of the schedule."),
        click.option("--dropout", type=float, default=dropout, show_default=True),
        click.option("--z-loss", type=float, default=1e-4, show_default=True, help="Weight of log(Z)^2 in the loss."),
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
            help=f"Steps between validations. [default: {VALIDATIONS_PER_RUN} times a run, at least every "
            f"{MOST_STEPS_BETWEEN_VALIDATIONS:,}]",
        ),
        click.option("--checkpoint-every", type=int, help="Steps between checkpoints. [default: as validations]"),
        click.option("--keep", type=int, default=2, show_default=True, help="How many of the last checkpoints stay."),
        click.option("--keep-step", type=int, multiple=True, help="A step whose checkpoint stays; may be repeated."),
        click.option(
            "--peak-flops", type=float, help="Peak FLOPs per second of the devices, to show how much of it is used."
        ),
        click.option("--dry-run", is_flag=True, help="Show configuration and cost, and start nothing."),
        cache_option,
    ]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def cache_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds `--cache-directory`."""
    return click.option(
        "--cache-directory",
        type=click.Path(path_type=Path, file_okay=False),
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
        **{name: options.pop(name) for name in ("batch", "accumulation", "dropout", "z_loss", "precision", "seed")},
    )
    regular = max(1, min(MOST_STEPS_BETWEEN_VALIDATIONS, steps // VALIDATIONS_PER_RUN))
    validate_every, checkpoint_every = options.pop("validate_every"), options.pop("checkpoint_every")
    saving = Saving(
        validate_every=regular if validate_every is None else validate_every,
        checkpoint_every=regular if checkpoint_every is None else checkpoint_every,
        keep=options.pop("keep"),
        named=options.pop("keep_step"),
    )
    return recipe, saving


def this_command_line() -> str:
    """The command as it was typed, to be kept in the manifest."""
    return shlex.join(["scalecli", *sys.argv[1:]])
