"""Where runs of one comparison were not made alike, so that their figures say less than they seem to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from scalecli.analysis.rows.comparison import Row

if TYPE_CHECKING:  # comparisons of published models alone do without
    from scalecli.manifest import Data, ImageData, Manifest

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
        Difference(stage, what, found)
        for stage, manifests in stages.items()
        for what, found in _differences(manifests).items()
    ]


def trained_steps(manifest: Manifest) -> int:
    """How many steps the run has trained itself, so far."""
    if manifest.status == "completed":
        return manifest.steps - manifest.start_step
    return max([*manifest.results, *manifest.checkpoints.kept, manifest.start_step]) - manifest.start_step


def _differences(manifests: Sequence[tuple[str, Manifest]]) -> dict[str, dict[str, list[str]]]:
    """What differs among the manifests of runs: the runs' names by the value."""
    known = [(name, aspects(manifest)) for name, manifest in manifests]
    found = {}
    for what in dict.fromkeys(what for _, each in known for what in each):
        values: dict[str, tuple[str, list[str]]] = {}
        for name, each in known:
            key, label = each.get(what, ("", "none"))
            values.setdefault(key, (label, []))[1].append(name)
        if len(values) > 1:
            found[what] = _by_label(values)
    return found


def aspects(manifest: Manifest) -> dict[str, tuple[str, str]]:
    """All of a run that should be alike in a fair comparison: by its name the value that decides, and its label."""
    data, environment = manifest.data, manifest.environment
    plain = {
        "status": manifest.status,
        "steps": trained_steps(manifest),
        "batch": manifest.batch,
        **_reading(data),
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
        **_vocabulary(data),
        **{what: (str(value), str(value)) for what, value in plain.items()},
    }


def _reading(data: Data | ImageData) -> dict[str, Any]:
    """How much of an example a model sees."""
    from scalecli.manifest import ImageData

    if isinstance(data, ImageData):
        return {"image size": data.image_size}
    return {"inputs length": data.inputs_length, "targets length": data.targets_length, "packed": data.packed}


def _vocabulary(data: Data | ImageData) -> dict[str, tuple[str, str]]:
    from scalecli.manifest import Data

    if not isinstance(data, Data):
        return {}
    entry = data.vocabulary
    return {"vocabulary": (entry.sha256, f"{entry.name}, {entry.pieces:,} pieces")}


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
