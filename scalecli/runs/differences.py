"""Whether two manifests are of the same run: where their configurations differ."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from scalecli import strict
from scalecli.manifest import Manifest

# All that decides the numbers of a run. How long it runs, on which devices, and what came out are not among it.
_CONFIGURATION = (
    *("kind", "architecture", "shape", "data", "objective", "optimizer", "schedule", "batch", "accumulation"),
    *("seed", "precision", "dropout", "z_loss", "parent", "origin", "start_step"),
)
# A hash of the content stands beside each of these, and files may move.
_OUTCOMES = {"data.unknown"}  # manifests of before do not have it
_PLACES = {"parent.path", "origin.source", "data.name", "data.vocabulary.file"}
_PLACES_OF_TASK = ("train", "validation", "test", "data_dir")
_VOCABULARY_NAME = "data.vocabulary.name"


def differences(a: Manifest, b: Manifest) -> list[str]:
    """Says where the configuration `b` differs from the run `a`: `optimizer.learning_rate: 0.01 in the run, 0.001 now`.

    Only what decides the numbers counts, so an empty list means that `b` may go on where `a` stopped.
    """
    run, now = _configuration(a), _configuration(b)
    places = _PLACES | _OUTCOMES
    # This says how it was made; any other name says where it lies.
    if not now.get(_VOCABULARY_NAME, "").startswith("train:"):
        places.add(_VOCABULARY_NAME)
    return [
        f"{key}: {run.get(key, 'nothing')} in the run, {now.get(key, 'nothing')} now"
        for key in dict.fromkeys((*run, *now))
        if key not in places and not _is_place(key) and run.get(key) != now.get(key)
    ]


def _is_place(key: str) -> bool:
    """Whether a key is one of a task's places, or of the files whose hashes `data.identity` is made of."""
    of_task = key.startswith(("data.task.", "data.tasks.")) and key.rpartition(".")[2] in _PLACES_OF_TASK
    return of_task or key.startswith("origin.files.")


def _configuration(manifest: Manifest) -> dict[str, Any]:
    parts = {name: getattr(manifest, name) for name in _CONFIGURATION}
    return dict(_leaves(strict.to_mapping({name: part for name, part in parts.items() if part is not None})))


def _leaves(mapping: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
