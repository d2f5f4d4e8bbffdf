"""The options that say which images, and how they are seen, for `pretrain` and `eval`."""

from __future__ import annotations

import click
from click.core import ParameterSource

from scalecli.architectures import named
from scalecli.cli.options.groups import number_option, option_group
from scalecli.errors import UsageError
from scalecli.references import ModelReference

IMAGES_HELP = (
    "Labeled images: a folder that holds a folder of JPEG or PNG files for each class (or train and validation, val or "
    "test folders that do), or a TensorFlow dataset such as imagenet2012."
)
_OF_IMAGES = ("smallest_cut", "flip")
_OF_TEXT = (
    *("text", "validation_text", "dataset", "vocabulary", "inputs_length", "noise_density", "mean_span_length"),
    "show_examples",
)


image_options = option_group(
    click.option("--images", metavar="DIR|NAME", help=IMAGES_HELP),
    option_group(
        number_option("--smallest-cut", 0.05, "Smallest share of an image's area that a random cut shows.", "SHARE"),
        click.option("--flip/--no-flip", default=True, show_default=True, help="Mirror half of the images."),
        rare=True,
    ),
    heading="Data",
)


def check_reading_options(ctx: click.Context, images: str | None) -> None:
    """Raises UsageError for an option of text that is given with --images, or one of images without."""
    for name in _OF_TEXT if images else _OF_IMAGES:
        if ctx.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            flag = next(param for param in ctx.command.params if param.name == name).opts[0]
            raise UsageError(f"{flag} goes with text, not with --images" if images else f"{flag} goes with --images")


def check_model_reads(model: ModelReference, images: str | None) -> None:
    """Raises UsageError for a model of images without --images, or a model of text with it."""
    reads_images = named(model.architecture).reads == "images"
    if reads_images and not images:
        raise UsageError(f"{model.name} reads images: give a folder or a TensorFlow dataset by --images")
    if images and not reads_images:
        raise UsageError(
            f"--images {images}: {model.name} ({model.architecture}) reads text; vit-s and the like read images"
        )
