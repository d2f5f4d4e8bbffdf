"""The names of the files in a run's directory, and the paths that lead to its manifest and from there."""

from __future__ import annotations

import glob
import os

from scalecli.errors import MissingError
from scalecli.storage.files import is_remote

MANIFEST = "run.yaml"
CHECKPOINTS = "checkpoints"  # holds a folder for each step, with the next three in it
WEIGHTS, OPTIMIZER, DESCRIPTION = "weights.safetensors", "optimizer.safetensors", "checkpoint.yaml"
METRICS = "metrics.jsonl"
TENSORBOARD = "tensorboard"
ARCHITECTURE = "architecture.py"  # a copy of a user's own, which is never executed


def manifest_path(path: str | os.PathLike[str]) -> str:
    """The manifest's own file, of a manifest or of a run's directory (in a bucket: all that has no YAML suffix).

    Raises:
        MissingError: a local directory holds no `run.yaml`.
    """
    path = os.fspath(path)
    if is_remote(path):
        return path if path.endswith((".yaml", ".yml")) else f"{path.rstrip('/')}/{MANIFEST}"
    if not os.path.isdir(path):
        return path
    inside = os.path.join(path, MANIFEST)
    if not os.path.exists(inside):
        below = glob.glob(os.path.join(glob.escape(path), "*", MANIFEST))
        hint = f"; there are {len(below)} runs below it, such as {os.path.dirname(below[0])}" if below else ""
        raise MissingError(f"{path}: no {MANIFEST} in this directory{hint}")
    return inside


def resolve_from(file: str, path: str) -> str:
    """A path that the manifest in `file` states as seen from its own directory, as seen from here."""
    if is_remote(path) or os.path.isabs(path):
        return path
    # Buckets know no "..", so it is taken out by its letters, as it was put in.
    protocol, separator, path_of_file = file.rpartition("://")
    return f"{protocol}{separator}{os.path.normpath(os.path.join(os.path.dirname(path_of_file), path))}"
