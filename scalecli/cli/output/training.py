"""What the subcommands print that make runs: the plan of a dry run, and the results of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from scalecli.cli.output.compiling import COMPILED_COLUMNS
from scalecli.cli.output.formats import Column, print_record
from scalecli.cli.output.terminal import say

if TYPE_CHECKING:
    from scalecli.devices import Request
    from scalecli.runs.recipe import Recipe
    from scalecli.specs import ModelSpec
    from scalecli.storage.run_storage import RunStorage

PLAN_COLUMNS = (
    Column("directory", "Directory"),
    Column("architecture", "Architecture"),
    Column("shape", "Shape"),
    Column("parameters", "Parameters", "count"),
    Column("weights_bytes", "Weights, float32", "bytes"),
    Column("optimizer_bytes", "Optimizer state, float32", "bytes"),
    Column("data", "Data"),
    Column("rates", "Rates"),
    Column("validation_examples", "Validation examples, at most"),
    Column("vocabulary", "Vocabulary"),
    Column("lengths", "Lengths, tokens"),
    Column("batch", "Batch"),
    Column("accumulation", "  in parts"),
    Column("steps", "Steps"),
    Column("steps_done", "Steps done"),
    Column("optimizer", "Optimizer"),
    Column("weight_decay", "  weight decay", "float"),
    Column("schedule", "Schedule"),
    Column("precision", "Precision"),
    Column("dropout", "Dropout", "float"),
    Column("seed", "Seed"),
    Column("training_flops_per_step", "Training FLOPs per step", "flops"),
    Column("training_flops", "Training FLOPs of the run", "flops"),
    Column("hours", "Time on this machine (roofline)", "hours"),
)

LENGTHS_NOTE = (
    "finetuning is counted with rows of the task's full lengths; a run pads to what its longest example needs"
)


def print_plan(
    spec: ModelSpec,
    shape: Any,
    recipe: Recipe,
    inputs: int,
    targets: int,
    storage: RunStorage,
    devices: Request,
    format: str,
    start_step: int = 0,
    **rest: Any,
) -> None:
    """Prints what `--dry-run` promises: the configuration, its cost, and the steps to do, from `start_step` on.

    Warns of a step that needs more memory than the devices have.
    """
    from scalecli import costs
    from scalecli.costs.this_machine import seconds_here
    from scalecli.runs.fitting import memory_warning, planned_machine, precision_warning
    from scalecli.storage.layout import CHECKPOINTS
    from scalecli.training.checkpoints import checkpoint_steps

    batch = costs.Batch(recipe.batch, inputs, targets)
    per_step = sum(costs.flops(spec, batch, "training").values())
    schedule = recipe.schedule
    there = storage.reading_copy()
    there.refresh()
    steps_done = max(checkpoint_steps(there.directory / CHECKPOINTS), default=start_step)
    machine = planned_machine(devices)
    seconds = seconds_here(spec, batch, recipe.training, recipe.steps - steps_done, machine)
    record = {
        "directory": storage.address,
        "architecture": spec.architecture,
        "shape": shape.to_dict(),
        "parameters": spec.parameters(),
        "weights_bytes": costs.weights_bytes(spec),
        "optimizer_bytes": costs.optimizer_bytes(spec, recipe.optimizer),
        "lengths": {"inputs": inputs, "targets": targets},
        "batch": recipe.batch,
        "accumulation": recipe.accumulation,
        "steps": recipe.steps,
        "steps_done": steps_done,
        "optimizer": recipe.optimizer,
        "weight_decay": recipe.weight_decay,
        "schedule": {"name": schedule.name, "learning_rate": schedule.learning_rate, "warmup": schedule.warmup},
        "precision": recipe.precision,
        "dropout": recipe.dropout,
        "seed": recipe.seed,
        "training_flops_per_step": per_step,
        "training_flops": per_step * (recipe.steps - start_step),
        "hours": seconds and seconds / 3600,
        **rest,
    }
    columns = (*PLAN_COLUMNS, *COMPILED_COLUMNS)
    print_record("plan", record, [column for column in columns if column.key in record], format)
    for warning in (memory_warning(spec, batch, recipe, machine), precision_warning(recipe, machine)):
        if warning:
            say(f"warning: {warning}")


def print_results(manifest: Any, storage: RunStorage, format: str) -> None:
    """Prints where a finished run is, its results at the last step, and those at the best where that is another."""
    last = max(manifest.results, default=None)
    results = {} if last is None else manifest.results[last]
    record = {"run": storage.address, "status": manifest.status, "step": manifest.steps, **results}
    columns = [Column("run", "Run"), Column("status", "Status"), Column("step", "Step")]
    columns += [Column(name, name, "float") for name in results]
    if manifest.best and manifest.best.step != last:
        best = {f"best/{name}": value for name, value in manifest.results[manifest.best.step].items()}
        record |= {"best_step": manifest.best.step, **best}
        columns += [Column("best_step", "Best step"), *(Column(name, name, "float") for name in best)]
    print_record("run", record, columns, format)
