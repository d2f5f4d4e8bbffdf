"""`scalecli import`: a checkpoint of another library as a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from scalecli.cli.options.files import cache_option, this_command_line
from scalecli.cli.options.groups import Command
from scalecli.cli.options.values import local_path
from scalecli.cli.output.formats import Column, format_option, print_record

if TYPE_CHECKING:
    from scalecli.interchange.imported import Imported
    from scalecli.runs.importing import Importing

_COLUMNS = (
    Column("run", "Run"),
    Column("format", "Format"),
    Column("source", "Source"),
    Column("architecture", "Architecture"),
    Column("shape", "Shape"),
    Column("parameters", "Parameters", "count"),
    Column("step", "Step"),
    Column("precision", "Precision"),
    Column("optimizer", "Optimizer's state"),
    Column("files", "Files"),
    Column("bytes", "Bytes read", "bytes"),
    Column("notes", "Notes"),
)


@click.command("import", cls=Command)
@click.argument("source", metavar="SOURCE")
@click.option(
    "--run",
    type=click.Path(),
    callback=local_path,
    metavar="DIRECTORY",
    help="Directory of the new run. [default: runs/ and SOURCE's name]",
)
@click.option("--step", type=int, metavar="STEP", help="Import the checkpoint of this step. [default: the last]")
@click.option(
    "--optimizer", is_flag=True, help="Import the state of the optimizer, too, so that training can go on exactly."
)
@click.option(
    "--vocabulary",
    metavar="FILE|t5",
    help="A SentencePiece model, a tokenizer.json that can be turned into one, or T5's own. [default: the one beside "
    "the checkpoint, else t5 if the embedding has T5's 32,128 rows]",
)
@click.option(
    "--verify",
    is_flag=True,
    help="Check that the imported model gives an example the log-likelihood that the original gives it.",
)
@click.option("--dry-run", is_flag=True, help="Read and check the checkpoint and show what it is, but write no run.")
@cache_option
@format_option
def command(
    source: str,
    run: Path | None,
    step: int | None,
    optimizer: bool,
    vocabulary: str | None,
    verify: bool,
    dry_run: bool,
    cache_directory: Path,
    format: str,
) -> None:
    """Make a run of a checkpoint of Mesh-TensorFlow, T5X, Hugging Face, KerasHub or the original ViT code (.npz).

    SOURCE is a folder or file, an address such as gs://bucket/folder, the name of a released checkpoint such as
    small-nl24 (scalecli shape --released lists them), or a name on Hugging Face's hub such as google/t5-v1_1-small; hf:
    before a released name says that the hub's conversion is meant. pretrain, finetune, eval, compare and export take
    the run as any other. The same command once more changes nothing.
    """
    from scalecli.cli.output.progress import ConsoleReporter
    from scalecli.devices.machine import check_tensorflow
    from scalecli.runs.importing import Importing, Source, import_run

    check_tensorflow()
    origin = Source.of(source)
    job = Importing(
        source=origin,
        directory=Path(os.path.abspath(run or Path("runs", origin.name))),
        step=step,
        optimizer=optimizer,
        vocabulary=vocabulary,
        verify=verify,
        cache_directory=cache_directory,
        command_line=this_command_line(),
    )
    with ConsoleReporter() as reporter:
        imported, its_vocabulary = job.read(reporter)
        if not dry_run:
            import_run(job, imported, its_vocabulary, reporter)
    print_record("run", _record(job, imported, dry_run), _COLUMNS, format)


def _record(job: Importing, imported: Imported, dry_run: bool) -> dict[str, object]:
    """What was found, and the run that was made of it."""
    from scalecli.architectures import build_spec
    from scalecli.runs.importing import warnings

    return {
        "run": f"{job.directory} (not written)" if dry_run else str(job.directory),
        "format": imported.format,
        "source": job.source.address,
        "architecture": imported.architecture,
        "shape": imported.shape.to_dict(),
        "parameters": build_spec(imported.architecture, imported.shape).parameters(),
        "step": imported.step,
        "precision": imported.precision,
        "optimizer": "taken" if imported.optimizer else "left out",
        "files": len(imported.files),
        "bytes": sum(file.bytes for file in imported.files),
        "notes": "; ".join(warnings(job, imported)) or "none",
    }
