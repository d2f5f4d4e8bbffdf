"""A run's final results, and the upstream quality that a finetuned or evaluated run has from the run it comes from."""

from __future__ import annotations

import os

from scalecli.errors import ScalecliError
from scalecli.files import is_remote
from scalecli.manifest import Manifest, load_manifest, manifest_hash, manifest_path

UPSTREAM_GROUP = "validation"
UPSTREAM_RESULT = f"{UPSTREAM_GROUP}/negative_log_perplexity"


def final_results(manifest: Manifest) -> dict[str, float]:
    """The results of the best step where the run names one, and of the last step otherwise."""
    step = manifest.best.step if manifest.best else max(manifest.results, default=None)
    return {} if step is None else manifest.results[step]


def upstream_of(file: str, manifest: Manifest) -> float | None:
    """The negative log-perplexity (nats) of the run in `file`, or of the nearest run that it was made from.

    Of that it is the figure of the step whose weights were taken, else of the last step before that has one. A
    pretraining run has its own figure or none, since its weights are its own. None as well where a run that this one
    comes from is not there any more, cannot be read, or has changed since.
    """
    figure = final_results(manifest).get(UPSTREAM_RESULT)
    # No loop is endless: no manifest can hold the hash of a manifest that holds its own.
    while figure is None and manifest.kind != "pretrain" and manifest.parent is not None:
        try:
            parent = manifest.parent
            file = manifest_path(_seen_from(file, parent.path))
            if manifest_hash(file) != parent.sha256:
                return None
            manifest = load_manifest(file)
        except (ScalecliError, ValueError):  # ValueError: what no file system takes for a path
            return None
        figure = _figure_at(manifest, parent.step)
    return figure


def _figure_at(manifest: Manifest, step: int) -> float | None:
    measured = [each for each, found in manifest.results.items() if each <= step and UPSTREAM_RESULT in found]
    return manifest.results[max(measured)][UPSTREAM_RESULT] if measured else None


def _seen_from(file: str, parent: str) -> str:
    """A parent's path as seen from here; a manifest states it as seen from its own directory."""
    if is_remote(parent) or os.path.isabs(parent):
        return parent
    # Buckets know no "..", so it is taken out by its letters, as it was put in.
    protocol, separator, place = file.rpartition("://")
    return f"{protocol}{separator}{os.path.normpath(os.path.join(os.path.dirname(place), parent))}"
