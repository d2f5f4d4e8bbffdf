"""`scalecli pretrain`: span corruption on text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from scalecli.cli.compiling import COMPILED_COLUMNS, check_compile_options, compiled_figures
from scalecli.cli.output import Column, format_option, print_record
from scalecli.cli.training_options import cache_directory as the_cache_directory
from scalecli.cli.training_options import (
    devices_asked_for,
    finite,
    recipe_and_saving,
    recipe_options,
    run_option,
    this_command_line,
)
from scalecli.errors import UsageError
from scalecli.references import ModelReference, model_options, resolve_model

if TYPE_CHECKING:
    from scalecli.runs.pretraining import Pretraining
    from scalecli.runs.recipe import Recipe
    from scalecli.specs import ModelSpec
    from scalecli.training.places import Place

EMBEDDED_VOCABULARY = "train:8000"

PLAN_COLUMNS = (
    Column("directory", "Directory"),
    Column("architecture", "Architecture"),
    Column("shape", "Shape"),
    Column("parameters", "Parameters", "count"),
    Column("weights_bytes", "Weights, float32", "bytes"),
    Column("adafactor_bytes", "Adafactor state, float32", "bytes"),
    Column("data", "Data"),
    Column("rates", "Rates"),
    Column("validation_examples", "Validation examples, at most"),
    Column("vocabulary", "Vocabulary"),
    Column("lengths", "Lengths, inputs/targets"),
    Column("batch", "Batch"),
    Column("steps", "Steps"),
    Column("steps_done", "Steps done"),
    Column("schedule", "Schedule"),
    Column("precision", "Precision"),
    Column("dropout", "Dropout", "float"),
    Column("seed", "Seed"),
    Column("training_flops_per_step", "Training FLOPs per step", "flops"),
    Column("training_flops", "Training FLOPs of the run", "flops"),
)


def print_plan(
    spec: ModelSpec,
    shape: Any,
    recipe: Recipe,
    inputs: int,
    targets: int,
    place: Place,
    format: str,
    start_step: int = 0,
    **rest: Any,
) -> None:
    """Prints what `--dry-run` promises: the configuration, its cost, and the steps to do, from `start_step` on."""
    from scalecli import costs
    from scalecli.training.checkpoints import CHECKPOINTS, checkpoint_steps

    per_step = sum(costs.flops(spec, costs.Batch(recipe.batch, inputs, targets), "training").values())
    schedule = recipe.schedule
    there = place.to_read()
    there.bring()
    record = {
        "directory": place.address,
        "architecture": spec.architecture,
        "shape": ", ".join(f"{name} {size}" for name, size in shape.to_dict().items()),
        "parameters": spec.parameters(),
        "weights_bytes": costs.weights_bytes(spec),
        "adafactor_bytes": costs.adafactor_bytes(spec),
        "lengths": f"{inputs}/{targets}",
        "batch": f"{recipe.batch} in {recipe.accumulation} parts" if recipe.accumulation > 1 else recipe.batch,
        "steps": recipe.steps,
        "steps_done": max(checkpoint_steps(there.directory / CHECKPOINTS), default=start_step),
        "schedule": f"{schedule.name}, learning rate {schedule.learning_rate:g}, warm-up {schedule.warmup}",
        "precision": recipe.precision,
        "dropout": recipe.dropout,
        "seed": recipe.seed,
        "training_flops_per_step": per_step,
        "training_flops": per_step * (recipe.steps - start_step),
        **rest,
    }
    columns = (*PLAN_COLUMNS, *COMPILED_COLUMNS)
    print_record(record, [column for column in columns if column.key in record], format)


@click.command("pretrain")
@model_options
@run_option("The run's directory, here or gs://BUCKET/FOLDER. [default: runs/MODEL]")
@click.option(
    "--text",
    multiple=True,
    metavar="PATH",
    help="Text, one document a line, or .jsonl (or .json) with a text field a line; .gz, globs, URLs.",
)
@click.option("--validation-text", multiple=True, metavar="PATH", help="Held-out text. [default: every 50th document]")
@click.option("--dataset", metavar="NAME", help="A TensorFlow dataset with a text feature, such as c4/en.")
@click.option("--data-dir", metavar="DIR", help="Where TensorFlow datasets are prepared: a folder, or gs://.")
@click.option("--split", metavar="SPLIT", help="Of the dataset, such as train[:16shard]. [default: train]")
@click.option("--validation-split", metavar="SPLIT", help="Of the dataset. [default: validation]")
@click.option(
    "--vocabulary",
    metavar="FILE|t5|train:N",
    help="A SentencePiece model, T5's own, or one of N pieces trained on the corpus. "
    f"[default: t5; {EMBEDDED_VOCABULARY} for embedded text]",
)
@click.option("--inputs-length", type=int, default=512, show_default=True, help="Tokens of an input.")
@click.option(
    "--noise-density",
    type=float,
    callback=finite,
    default=0.15,
    show_default=True,
    help="Share of the text to predict.",
)
@click.option(
    "--mean-span-length",
    type=float,
    callback=finite,
    default=3.0,
    show_default=True,
    help="Tokens of a corrupted span.",
)
@click.option(
    "--validation-examples", type=int, default=512, show_default=True, help="Segments of held-out text, at most."
)
@click.option("--keep-optimizer", is_flag=True, help="Go on from the run's step with its optimizer's state, too.")
@click.option(
    "--show-examples", type=int, metavar="N", help="Show N examples as the model will see them, and start nothing."
)
@click.option(
    "--compile-for",
    metavar="TOPOLOGY",
    help="With --dry-run: compile the training step for a TPU such as v3:4x4 that needn't be there, and show its "
    "memory, FLOPs and collectives; takes the extra [tpu-check].",
)
@recipe_options(steps=2**19, batch=128, schedule="inverse-square-root", learning_rate=0.01, warmup=10_000, dropout=0.0)
@format_option
def command(
    model: str,
    architecture: str | None,
    operators: dict[str, int],
    show_examples: int | None,
    compile_for: str | None,
    dry_run: bool,
    format: str,
    **options: Any,
) -> None:
    """Pretrain MODEL by span corruption.

    MODEL is a name such as small-nl24, a shape file, or a run, whose weights and vocabulary are then the start.
    Without --text or --dataset it learns from the docstrings of this Python installation. The defaults of steps,
    batch, lengths, schedule and dropout are those of "Scale Efficiently". The same command goes on with a run that
    was stopped.
    """
    from scalecli.architectures import build_spec
    from scalecli.runs.pretraining import example_batches, pretrain

    if show_examples is not None and show_examples < 1:
        raise UsageError(f"--show-examples is {show_examples}; 1 or more is accepted")
    reference = resolve_model(model, architecture=architecture, operators=operators)
    if options["keep_optimizer"] and not reference.run:
        raise UsageError(f"--keep-optimizer goes on with a run, and {model} is none")
    job = pretraining_job(reference, **options)
    check_compile_options(compile_for, dry_run, job.devices)
    if dry_run:
        source = job.source
        source.check()
        shape, start = job.planned_shape(), job.start()
        spec = build_spec(reference.architecture, shape)
        lengths = (job.objective.inputs_length, job.objective.targets_length)
        compiled = {}
        if compile_for:
            compiled = compiled_figures(spec, job.recipe, *lengths, compile_for, job.devices.model_parallel)
        print_plan(
            spec,
            shape,
            job.recipe,
            *lengths,
            job.place,
            format,
            start_step=start.step if start else 0,
            data=" ".join(source.text) or source.dataset or "embedded docstrings",
            validation_examples=job.validation_examples,
            vocabulary="of the run" if reference.run else job.vocabulary,
            **compiled,
        )
        return
    from scalecli.cli.progress import ConsoleReporter

    if show_examples is not None:
        from scalecli.cli.examples import print_examples

        with ConsoleReporter() as reporter:
            batches, its_vocabulary = example_batches(job, reporter)
        print_examples(batches, its_vocabulary, show_examples)
        return
    with ConsoleReporter() as reporter:
        manifest = pretrain(job, reporter)
    print_results(manifest, job.place, format)


def pretraining_job(
    model: ModelReference,
    *,
    run: str | None,
    text: tuple[str, ...],
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
    cache_directory: Path | None,
    keep_optimizer: bool = False,
    **recipe_values: Any,
) -> Pretraining:
    """The run that the options of this subcommand describe.

    Raises:
        UsageError: a vocabulary for a model that is a run.
        ConfigurationError: a value that can't be.
    """
    from scalecli.data.span_corruption import SpanCorruption
    from scalecli.runs.pretraining import Pretraining
    from scalecli.runs.text import TextSource
    from scalecli.training.places import place_at

    if model.run and vocabulary:
        raise UsageError(f"--vocabulary {vocabulary}: {model.run} is a run and brings its own; leave it out")
    source = TextSource(text, validation_text, dataset, data_dir, split, validation_split)
    recipe, saving = recipe_and_saving(recipe_values)
    devices = devices_asked_for(recipe_values)
    cache = the_cache_directory(cache_directory)
    return Pretraining(
        model=model,
        source=source,
        vocabulary=vocabulary or (EMBEDDED_VOCABULARY if source.kind == "embedded" else "t5"),
        objective=SpanCorruption(inputs_length, noise_density, mean_span_length),
        recipe=recipe,
        saving=saving,
        validation_examples=validation_examples,
        place=place_at(run or Path("runs").absolute() / model.name, cache),
        cache_directory=cache,
        command_line=this_command_line(),
        peak_flops=peak_flops,
        devices=devices,
        keep_optimizer=keep_optimizer,
    )


def print_results(manifest: Any, place: Place, format: str) -> None:
    """Prints where a finished run is, its results at the last step, and those at the best where that is another."""
    last = max(manifest.results, default=None)
    results = {} if last is None else manifest.results[last]
    record = {"run": place.address, "status": manifest.status, "step": manifest.steps, **results}
    columns = [Column("run", "Run"), Column("status", "Status"), Column("step", "Step")]
    columns += [Column(name, name, "float") for name in results]
    if manifest.best and manifest.best.step != last:
        best = {f"best/{name}": value for name, value in manifest.results[manifest.best.step].items()}
        record |= {"best_step": manifest.best.step, **best}
        columns += [Column("best_step", "Best step"), *(Column(name, name, "float") for name in best)]
    print_record(record, columns, format)
