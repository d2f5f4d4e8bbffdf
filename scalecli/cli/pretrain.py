"""`scalecli pretrain`: span corruption on text, or the classes of images."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from scalecli.cli.options.devices import devices_asked_for
from scalecli.cli.options.files import text_field_option, this_command_line
from scalecli.cli.options.groups import number_option, option_group
from scalecli.cli.options.images import check_model_reads, check_reading_options, image_options
from scalecli.cli.options.model import ModelCommand, model_options
from scalecli.cli.options.training import output_options, recipe_and_saving, recipe_options
from scalecli.cli.output.compiling import check_compile_options, compiled_figures
from scalecli.cli.output.terminal import say
from scalecli.cli.output.training import print_plan, print_results
from scalecli.errors import UsageError
from scalecli.references import ModelReference, resolve_model

if TYPE_CHECKING:
    from scalecli.runs.images.pretraining import ImagePretraining
    from scalecli.runs.text.pretraining import Pretraining

EMBEDDED_VOCABULARY = "train:8000"
LONG_SECONDS = 24 * 3600.0  # of a run that nobody has said the steps of


@click.command("pretrain", cls=ModelCommand)
@model_options
@option_group(
    click.option(
        "--text",
        multiple=True,
        metavar="PATH",
        help="Training text: plain text with a document on each line, or records in JSON (lines or a list), Parquet, "
        "Arrow, CSV or TSV, or a folder saved by Hugging Face's datasets; also compressed (gzip, bzip2, xz, zstd). "
        "Globs and URLs are accepted; may be repeated.",
    ),
    click.option("--dataset", metavar="NAME", help="A TensorFlow dataset with a text feature, such as c4/en."),
    click.option(
        "--vocabulary",
        metavar="FILE|t5|train:N",
        help="A SentencePiece model (or a tokenizer.json that can be turned into one), T5's own, or N pieces trained "
        f"on the corpus. [default: t5; {EMBEDDED_VOCABULARY} without a corpus]",
    ),
    number_option("--inputs-length", 512, "Tokens in an input."),
    click.option(
        "--validation-text", multiple=True, metavar="PATH", help="Held-out text. [default: every 50th document]"
    ),
    number_option("--validation-examples", 512, "Validate on at most N segments of text, or N images."),
    text_field_option,
    click.option(
        "--data-dir", metavar="DIR", help="Folder or gs:// address where the TensorFlow datasets have been prepared."
    ),
    click.option(
        "--split", metavar="SPLIT", help="Split of the dataset to train on, such as train[:16shard]. [default: train]"
    ),
    click.option(
        "--validation-split",
        metavar="SPLIT",
        help="Split of the dataset to validate on. [default: validation; of images also val or test]",
    ),
    number_option("--noise-density", 0.15, "Share of the tokens that are masked and must be predicted.", "SHARE"),
    number_option("--mean-span-length", 3.0, "Average number of tokens in a masked span."),
    image_options,
    heading="Data",
)
@recipe_options(steps=2**19, batch=128, schedule="inverse-square-root", learning_rate=0.01, warmup=10_000, dropout=0.0)
@option_group(
    click.option(
        "--keep-optimizer",
        is_flag=True,
        help="With a run as MODEL: go on from its step with its optimizer's state, not from step 0.",
    ),
    heading="Checkpoints",
)
@output_options("Directory of the run, here or gs://BUCKET/FOLDER. [default: runs/MODEL]")
@option_group(
    click.option(
        "--compile-for",
        metavar="TOPOLOGY",
        help="With --dry-run: compile the training step for a TPU such as v3:4x4, which need not be there, and show "
        "its memory, FLOPs and collectives; needs the extra [tpu-check].",
    ),
    heading="Output",
    rare=True,
)
@click.pass_context
def command(
    ctx: click.Context,
    model: str,
    architecture: str | None,
    operators: dict[str, int],
    show_examples: int | None,
    compile_for: str | None,
    dry_run: bool,
    format: str,
    **options: Any,
) -> None:
    """Pretrain MODEL by span corruption on text, or on labeled images.

    MODEL is a name such as small-nl24, a shape file, or a run, whose weights and vocabulary training then starts from.
    Without --text or --dataset it is trained on the docstrings of this Python installation. Steps, batch, lengths,
    schedule and dropout are by default those of "Scale Efficiently". If a run stops, the same command continues it.

    Vision transformers (vit-s, vit-b) need --images. Each image is cut, mirrored and scaled at random every time it is
    seen, and the model learns to tell the classes apart.
    """
    from scalecli.runs.text.pretraining import Pretraining, example_batches
    from scalecli.runs.training import carry_out

    check_reading_options(ctx, options["images"])
    reference = resolve_model(model, architecture=architecture, operators=operators)
    if options["keep_optimizer"] and not reference.run:
        raise UsageError(f"--keep-optimizer goes on with a run, and {model} is none")
    job = pretraining_job(reference, **options)
    check_compile_options(compile_for, dry_run, job.devices)
    if dry_run:
        _print_plan_of(job, compile_for, format)
        return
    if show_examples is None and ctx.get_parameter_source("steps") is ParameterSource.DEFAULT:
        _check_default_steps(job)
    from scalecli.cli.output.progress import ConsoleReporter

    with ConsoleReporter() as reporter:
        if show_examples is None or not isinstance(job, Pretraining):
            manifest = carry_out(job, reporter)
        else:
            batches, its_vocabulary = example_batches(job, reporter)
    if show_examples is None or not isinstance(job, Pretraining):
        print_results(manifest, job.storage, format)
        return
    from scalecli.cli.output.examples import print_examples

    print_examples(batches, its_vocabulary, show_examples)


def _check_default_steps(job: Pretraining | ImagePretraining) -> None:
    """Asks on a terminal, and warns elsewhere, before a new run whose default of steps takes long on this machine.

    Raises:
        click.Abort: the answer is no.
    """
    from scalecli.architectures import build_spec
    from scalecli.costs import Batch
    from scalecli.costs.this_machine import rough_duration, seconds_here
    from scalecli.runs.fitting import planned_machine

    recipe = job.recipe
    if os.path.exists(job.storage.directory):
        return
    spec, batch = build_spec(job.model.architecture, job.planned_shape()), Batch(recipe.batch, *job.lengths())
    seconds = seconds_here(spec, batch, recipe.training, recipe.steps, planned_machine(job.devices))
    if seconds is None or seconds < LONG_SECONDS:
        return
    text = (
        f"{recipe.steps:,} steps, the default of --steps, take about {rough_duration(seconds)} on this machine, by a "
        "roofline estimate"
    )
    if sys.stdin.isatty() and sys.stderr.isatty():
        click.confirm(f"{text}. Start?", abort=True, err=True)
    else:
        say(f"warning: {text}")


def _print_plan_of(job: Pretraining | ImagePretraining, compile_for: str | None, format: str) -> None:
    """What a dry run prints, after a look that the data is there."""
    from scalecli.architectures import build_spec
    from scalecli.runs.text.pretraining import Pretraining

    job.source.check()
    shape, start = job.planned_shape(), job.start()
    spec = build_spec(job.model.architecture, shape)
    more: dict[str, Any] = {}
    if isinstance(job, Pretraining):
        more["vocabulary"] = "of the run" if job.model.run else job.vocabulary
    if compile_for:
        more |= compiled_figures(spec, job.recipe, *job.lengths(), compile_for, job.devices)
    print_plan(
        spec,
        shape,
        job.recipe,
        *job.lengths(),
        job.storage,
        job.devices,
        format,
        start_step=start.step if start else 0,
        data=job.source.name,
        validation_examples=job.validation_examples,
        **more,
    )


def pretraining_job(
    model: ModelReference,
    *,
    run: str | None,
    images: str | None,
    smallest_cut: float,
    flip: bool,
    text: tuple[str, ...],
    text_field: str | None,
    validation_text: tuple[str, ...],
    dataset: str | None,
    data_dir: str | None,
    split: str | None,
    validation_split: str | None,
    vocabulary: str | None,
    inputs_length: int,
    noise_density: float,
    mean_span_length: float,
    validation_examples: int,
    peak_flops: float | None,
    cache_directory: Path,
    keep_optimizer: bool = False,
    **recipe_values: Any,
) -> Pretraining | ImagePretraining:
    """The run that the options of this subcommand describe.

    Raises:
        UsageError: a vocabulary for a model that is a run, or images for a model that reads text, or none for one that
            reads images.
        ConfigurationError: a value that can't be.
    """
    from scalecli.data.text.span_corruption import SpanCorruption
    from scalecli.runs.text.pretraining import Pretraining
    from scalecli.runs.text.source import TextSource
    from scalecli.storage.run_storage import open_storage

    check_model_reads(model, images)
    recipe, saving = recipe_and_saving(recipe_values)
    common: dict[str, Any] = {
        "model": model,
        "recipe": recipe,
        "saving": saving,
        "validation_examples": validation_examples,
        "storage": open_storage(run or Path("runs").absolute() / model.name, cache_directory),
        "cache_directory": cache_directory,
        "command_line": this_command_line(),
        "peak_flops": peak_flops,
        "devices": devices_asked_for(recipe_values, model.architecture, model.shape),
        "keep_optimizer": keep_optimizer,
    }
    if images:
        from scalecli.data.images.source import ImageSource
        from scalecli.data.images.views import Cuts
        from scalecli.runs.images.pretraining import ImagePretraining

        shown = ImageSource(images, data_dir, split, validation_split)
        return ImagePretraining(source=shown, cuts=Cuts(smallest_cut, flip), **common)
    if model.run and vocabulary:
        raise UsageError(f"--vocabulary {vocabulary}: {model.run} is a run and brings its own; leave it out")
    source = TextSource(text, validation_text, dataset, data_dir, split, validation_split, text_field)
    return Pretraining(
        source=source,
        vocabulary=vocabulary or (EMBEDDED_VOCABULARY if source.kind == "embedded" else "t5"),
        objective=SpanCorruption(inputs_length, noise_density, mean_span_length),
        **common,
    )
