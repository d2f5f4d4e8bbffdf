"""`scalecli export`: a run's model for Hugging Face's transformers, for KerasHub, or for the original ViT code."""

from __future__ import annotations

import os
from pathlib import Path

import click

from scalecli.cli.options.completion import complete_runs
from scalecli.cli.options.files import cache_option
from scalecli.cli.options.groups import Command
from scalecli.cli.options.values import local_path
from scalecli.cli.output.formats import Column, format_option, print_table
from scalecli.cli.output.terminal import say
from scalecli.costs.hardware import PRECISIONS

TARGETS = ("hugging-face", "keras-hub", "npz")


@click.command("export", cls=Command)
@click.argument("model", metavar="RUN", shell_complete=complete_runs)
@click.argument("directory", metavar="DIRECTORY", type=click.Path(), callback=local_path)
@click.option("--to", type=click.Choice(TARGETS), required=True, help="The library that is to load the model.")
@click.option("--step", type=int, metavar="STEP", help="Export the checkpoint of this step. [default: the last]")
@click.option(
    "--precision",
    type=click.Choice(PRECISIONS),
    default="float32",
    show_default=True,
    help="Precision of the weights in the files; checkpoints have float32.",
)
@cache_option
@format_option
def command(
    model: str,
    directory: Path,
    to: str,
    step: int | None,
    precision: str,
    cache_directory: Path,
    format: str,
) -> None:
    """Write the model of RUN into DIRECTORY, which is empty or new, for another library.

    RUN is a run's directory or manifest, or the folder of one of its checkpoints. hugging-face: configuration, weights,
    tokenizer and a model card, for T5ForConditionalGeneration.from_pretrained(DIRECTORY); AutoTokenizer (transformers 4
    and 5) gives the ids that the model was trained on, or the export is refused. keras-hub: a preset, for
    T5Backbone.from_preset(DIRECTORY) and T5Seq2SeqLM. Both hold the architectures transformer and glu without shared
    key and value heads (SH) and tied keys and values (SKV), keras-hub only with as many encoder as decoder layers.
    A vision transformer goes to hugging-face, as a ViTForImageClassification, or to npz, the original code's format.
    No format holds other architectures, your own neither; a checkpoint's weights.safetensors has their weights by name.
    """
    from scalecli.cli.output.progress import ConsoleReporter
    from scalecli.devices.machine import check_tensorflow
    from scalecli.runs.exporting import export
    from scalecli.runs.trained import open_trained

    check_tensorflow()
    trained = open_trained(model, cache_directory, step)
    trained.storage.report = ConsoleReporter().fetched
    directory = Path(os.path.abspath(directory))
    files = export(trained, to, directory, precision, cache_directory)
    rows = [{"file": file.relative_to(directory).as_posix(), "bytes": file.stat().st_size} for file in files]
    print_table("files", rows, [Column("file", "File"), Column("bytes", "Size", "bytes")], format)
    say(f"{trained.address} at step {trained.step:,}: written to {directory}")
