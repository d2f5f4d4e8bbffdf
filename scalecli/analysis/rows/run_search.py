"""Finding runs in a tree of directories, here or in a bucket."""

from __future__ import annotations

import os
from collections.abc import Iterator

from scalecli.errors import MissingError
from scalecli.storage.files import is_remote, locate, one_line_errors
from scalecli.storage.layout import MANIFEST

# What a run's own directory has below it that holds no further runs, and may hold many files.
_WITHOUT_RUNS = ("checkpoints", "tensorboard")


def find_runs(directory: str) -> tuple[list[str], list[str]]:
    """The manifests in `directory` and anywhere below it, by path, and what could not be looked into and why.

    Links to directories are followed, each directory once. Names that begin with a dot are left out.

    Raises:
        MissingError: there is no such directory, or the bucket can't be reached.
    """
    problems: list[str] = []
    if is_remote(directory):
        with one_line_errors(directory):
            file_system, path = locate(directory)
            manifests = file_system.glob(f"{path.rstrip('/')}/**/{MANIFEST}")
            return sorted(map(file_system.unstrip_protocol, manifests)), problems
    if not os.path.isdir(directory):
        raise MissingError(f"{directory}: {'not a' if os.path.exists(directory) else 'no such'} directory")
    return list(_walk(directory, problems)), problems


def _walk(directory: str, problems: list[str]) -> Iterator[str]:
    def report(error: OSError) -> None:
        problems.append(f"{error.filename}: {error.strerror}")

    seen = set()
    for folder, names, files in os.walk(directory, onerror=report, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            names.clear()
            continue
        seen.add(real)
        names[:] = sorted(name for name in names if not name.startswith(".") and name not in _WITHOUT_RUNS)
        if MANIFEST in files:
            yield os.path.join(folder, MANIFEST)
