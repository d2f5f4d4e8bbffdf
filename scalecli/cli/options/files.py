"""The options that say where runs, text and caches are, and the command line as it was typed."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click

from scalecli.cli.options.groups import Decorator, option_group
from scalecli.cli.options.values import local_path, run_address


def run_option(help: str) -> Decorator:
    """Adds `--run`, which arrives as `run_address` makes it."""
    return option_group(
        click.option("--run", type=click.Path(), callback=run_address, metavar="DIRECTORY", help=help), heading="Output"
    )


text_field_option = click.option(
    "--text-field", metavar="NAME", help="Field of each record that holds the text. [default: text]"
)


def default_cache() -> Path:
    """The user's cache directory."""
    import platformdirs

    return Path(platformdirs.user_cache_dir("scalecli", appauthor=False))


def _cache(ctx: click.Context, param: click.Parameter, value: str | None) -> Path:
    return local_path(ctx, param, value) or default_cache()


# It arrives as `cache_directory`, a `Path`.
cache_option = option_group(
    click.option(
        "--cache-directory",
        type=click.Path(file_okay=False),
        callback=_cache,
        help="Where tokenized text and downloads are kept. [default: the user's cache]",
    ),
    heading="Output",
)


def this_command_line() -> str:
    """The command as it was typed, to be kept in the manifest."""
    return shlex.join(["scalecli", *sys.argv[1:]])
