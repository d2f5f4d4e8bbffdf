"""`scalecli shape`: what a shape is and costs, and which shapes there are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import click

from scalecli import strict
from scalecli.analysis.advice.shapes import Setting
from scalecli.analysis.advice.warnings import warnings
from scalecli.architectures import DEFAULT_ARCHITECTURE, build_spec
from scalecli.cli.options.batch import batch_options
from scalecli.cli.options.groups import option_group
from scalecli.cli.options.machine import PricedRun, run_from, run_notes, run_options
from scalecli.cli.options.model import ModelCommand, complete_model, shape_options
from scalecli.cli.output.formats import format_option, print_notes, print_table
from scalecli.cli.output.terminal import say
from scalecli.cli.shape.checks import print_checks
from scalecli.cli.shape.choosing import (
    ALTERNATIVE_COLUMNS,
    CANDIDATE_COLUMNS,
    alternative_notes,
    alternative_rows,
    candidate_notes,
    candidate_rows,
    choosing_options,
)
from scalecli.cli.shape.figures import print_shape, print_shapes, shape_figures
from scalecli.cli.shape.released import released_table
from scalecli.costs import batch_of
from scalecli.errors import UsageError
from scalecli.references import ModelReference, resolve_model
from scalecli.shape import Shape, presets
from scalecli.specs import VOCABULARY_ROWS
from scalecli.specs.vision import CLASSES


@click.command("shape", cls=ModelCommand)
@click.argument("models", nargs=-1, metavar="[MODEL]...", shell_complete=complete_model)
@shape_options
@batch_options
@run_options
@choosing_options
@option_group(
    click.option("--released", is_flag=True, help="List the checkpoints that were released with Scale Efficiently."),
    click.option("--size", metavar="SIZE", help="With --released: only checkpoints of this size, such as small."),
    click.option("--knob", metavar="OPERATOR", help="With --released: only those with this operator, such as nl."),
    heading="Find a shape, instead of MODEL",
)
@option_group(
    click.option(
        "--check",
        is_flag=True,
        help="Check weights, FLOPs, gradients, masks and decoding of an architecture at a tiny size (seconds).",
    ),
    heading="An architecture of your own",
)
@option_group(
    click.option("-o", "--output", type=click.Path(), metavar="FILE", help="Write the shape of one MODEL as YAML."),
    format_option,
    heading="Output",
)
def command(
    models: tuple[str, ...],
    architecture: str | None,
    operators: dict[str, Any],
    lengths: dict[str, int],
    run: PricedRun | None,
    like: str | None,
    cheaper: str | None,
    budgets: dict[str, float],
    released: bool,
    size: str | None,
    knob: str | None,
    check: bool,
    output: str | None,
    format: str,
) -> None:
    """Show the fields of a shape, its parameters, FLOPs and memory, or find a shape.

    MODEL is a name (small, small-nl24, NL24-SM, t5-efficient-small-nl24, vit-s), a shape file, or a run's manifest or
    directory; --nl and the like change it. Several MODELs make one row each; without MODEL, all sizes of the
    architecture. FLOPs are those of the convention `forward` (see scalecli flops); tokens are inputs and targets
    together. A vision transformer's inputs are the patches of an image, and its target is one label.

    Any of --chip, --chips, --model-parallel, --steps, --optimizer, --rematerialise, --precision, --pue and --grid adds
    the memory of a device, an estimate of the speed, and FLOPs, time and energy of the whole training run.

    Instead of MODEL: --released lists the released checkpoints, --like MODEL --cheaper COST published models that do as
    well for less, --budget COST=VALUE shapes that cost no more. --check runs a tiny model of --arch, with the knobs of
    MODEL if one is given, and says of what its specs and layers promise which holds.
    """
    only_models = {"MODEL": models, "-o": output}
    shaping = {"--arch": architecture, "--nl and the like": operators}
    measuring = {"--batch and the like": lengths, "--chip and the like": run}
    if released:
        _refuse("--released", {**only_models, **shaping, **measuring, "--like": like, "--budget": budgets})
        print_table("released", *released_table(size, knob), format)
    elif check:
        _refuse("--check", {"-o": output, **measuring, "--like": like, "--budget": budgets})
        print_checks(models, architecture, operators, format)
    elif size or knob:
        raise UsageError("--size and --knob choose from the released checkpoints; add --released")
    elif like is not None and cheaper is not None:
        _refuse("--like", only_models)
        reference = resolve_model(like, architecture=architecture, operators=operators, reshape_runs=True)
        setting = _setting(run, reference.architecture, reference.shape, lengths)
        rows = alternative_rows(reference, cheaper, setting)
        print_table("alternatives", rows, ALTERNATIVE_COLUMNS, format)
        print_notes(alternative_notes(reference, cheaper, rows, setting), format)
    elif budgets:
        _refuse("--budget", {**only_models, "--nl and the like": operators})
        chosen = architecture or DEFAULT_ARCHITECTURE
        setting = _setting(run, chosen, next(iter(presets(chosen).values())), lengths)
        print_table("candidates", candidate_rows(chosen, budgets, setting), CANDIDATE_COLUMNS, format)
        print_notes(candidate_notes(setting), format)
    else:
        references = [
            resolve_model(model, architecture=architecture, operators=operators, reshape_runs=True)
            for model in models or presets(architecture or DEFAULT_ARCHITECTURE)
        ]
        _show(references, lengths, run, output, format)


def _show(
    references: Sequence[ModelReference],
    lengths: Mapping[str, int],
    run: PricedRun | None,
    output: str | None,
    format: str,
) -> None:
    """Prints the figures of models, with what there is to say about their shapes, and writes the shape of one."""
    rows = [shape_figures(reference, lengths, run) for reference in references]
    if output is not None:
        _write(references, output)
    for reference in references:
        for warning in warnings(reference.architecture, reference.shape):
            say(f"warning: {reference.name}: {warning}")
    if len(rows) == 1:
        print_shape(rows[0], format)
    else:
        print_shapes(rows, format)
    if run is not None:
        print_notes(run_notes(run), format)


def _setting(run: PricedRun | None, architecture: str, shape: Shape, lengths: Mapping[str, int]) -> Setting:
    """The machine and the batch that costs are worked out for, of shapes that read what this one does."""
    run = run or run_from({})
    return Setting(run.machine, run.training, batch_of(build_spec(architecture, shape), "forward", **lengths))


def _refuse(mode: str, others: Mapping[str, Any]) -> None:
    given = [flag for flag, value in others.items() if value]
    if given:
        raise UsageError(f"{mode} does not go with {', '.join(given)}")


def _write(references: Sequence[ModelReference], output: str) -> None:
    if len(references) != 1:
        raise UsageError(f"-o {output} writes the shape of one MODEL; there are {len(references)}")
    (reference,) = references
    fields = reference.shape.to_dict()
    for name, usual in (("vocabulary", VOCABULARY_ROWS), ("classes", CLASSES)):
        if not reference.fixes_output_size and fields.get(name) == usual:
            del fields[name]  # a shape file that states it keeps it, whatever the data
    strict.write_yaml(output, {"architecture": reference.architecture, **fields})
    say(f"wrote {output}")
