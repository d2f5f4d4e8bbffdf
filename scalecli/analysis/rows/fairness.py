"""Where runs of one comparison were not made alike, so that their figures say less than they seem to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalecli.analysis.rows.comparison import Row

if TYPE_CHECKING:  # comparisons of published models alone do without
    from scalecli.manifest import Data, Manifest

_STAGES = {"pretrain": "pretraining", "finetune": "finetuning", "eval": "evaluation"}


@dataclass(frozen=True)
class Difference:
    """One thing in which runs differ: the stage that it is of, what it is, and the runs' names by its value."""

    stage: str
    what: str
    runs: dict[str, list[str]]


def unlike(rows: Iterable[Row], key: str) -> dict[str, list[str]]:
    """The names of the rows by what the column `key` was measured on; empty where that is one thing for all.

    Of `upstream` it is a text, of `downstream` the tasks, of `few_shot` the images.
    """
    measured: dict[str, list[str]] = {}
    for row in rows:
        if row.value(key) is not None:
            measured.setdefault(str(row.measured_on(key)[0]), []).append(row.name)
    return measured if len(measured) > 1 else {}


def differences(rows: Sequence[Row]) -> list[Difference]:
    """In what the runs among the rows differ that should be alike for a fair comparison, stage by stage.

    Pretraining is compared with pretraining, also of the runs that finetuned ones were made from, and so on. The shape
    and the architecture are what is compared, and seeds are meant to differ.
    """
    stages: dict[str, list[tuple[str, Manifest]]] = {stage: [] for stage in _STAGES.values()}
    for row in rows:
        if row.run:
            stages[_STAGES[row.run.manifest.kind]].append((row.name, row.run.manifest))
            if row.run.manifest.kind != "pretrain" and row.run.pretrained:
                stages["pretraining"].append((row.name, row.run.pretrained))
    return [
        Difference(stage, what, runs)
        for stage, manifests in stages.items()
        for what, runs in _differences(manifests).items()
    ]


def last_step(manifest: Manifest) -> int:
    """The last step that the run has results or a checkpoint of, so far."""
    return max([*manifest.results, *manifest.checkpoints.kept, manifest.start_step])


def trained_steps(manifest: Manifest) -> int:
    """How many steps the run has trained itself, so far."""
    return (manifest.steps if manifest.status == "completed" else last_step(manifest)) - manifest.start_step


def _differences(manifests: Sequence[tuple[str, Manifest]]) -> dict[str, dict[str, list[str]]]:
    """What differs among the manifests of runs: the runs' names by the value."""
    known = [(name, aspects(manifest)) for name, manifest in manifests]
    differing = {}
    for what in dict.fromkeys(what for _, own in known for what in own):
        values: dict[str, tuple[str, list[str]]] = {}
        for name, own in known:
            key, label = own.get(what, ("", "none"))
            values.setdefault(key, (label, []))[1].append(name)
        if len(values) > 1:
            differing[what] = _by_label(values)
    return differing


def aspects(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """All of a run that should be alike in a fair comparison: by its name the value that decides, and its label."""
    from scalecli.manifest import ImageData

    data, environment = manifest.data, manifest.environment
    vocabulary, reading = {}, {}
    if isinstance(data, ImageData):
        reading = {"image size": data.image_size}
    else:
        reading = {**_lengths(data), "packed": data.packed}
        pieces = data.vocabulary
        vocabulary = {"vocabulary": (pieces.sha256, f"{pieces.name}, {pieces.pieces:,} pieces")}
    plain = {
        "status": manifest.status,
        "steps": trained_steps(manifest),
        "batch": manifest.batch,
        **reading,
        "precision": manifest.precision,
        "dropout": manifest.dropout,
        "z_loss": manifest.z_loss,
        **_named("objective", manifest.objective or {}),
        **_named("optimizer", manifest.optimizer),
        **_named("schedule", manifest.schedule),
        "devices": ", ".join(environment.devices),
        "tensorflow": environment.tensorflow,
    }
    return {
        "data": (data.identity, data.name),
        **vocabulary,
        **{what: (str(value), str(value)) for what, value in plain.items()},
    }


def _lengths(data: Data) -> dict[str, Any]:
    """How long rows may be: those of tasks are as long as the examples need, and the tasks' definitions say at most."""
    if data.kind != "task":
        return {"inputs length": data.inputs_length, "targets length": data.targets_length}
    definitions = (data.tasks or {data.name: data.task or {}}).values()
    lengths = [definition["lengths"] for definition in definitions if "lengths" in definition]
    return {f"{side} length": max((most[side] for most in lengths), default=None) for side in ("inputs", "targets")}


def _named(part: str, values: Mapping[str, Any]) -> dict[str, Any]:
    # Lengths are aspects of their own.
    return {f"{part} {key}": value for key, value in values.items() if not key.endswith("_length")}


def _by_label(values: Mapping[str, tuple[str, list[str]]]) -> dict[str, list[str]]:
    """The names by label; labels that two values share get the beginning of the value behind them."""
    labels = [label for label, _ in values.values()]
    return {
        label if labels.count(label) == 1 else f"{label} ({key.removeprefix('sha256:')[:8]})": names
        for key, (label, names) in values.items()
    }
