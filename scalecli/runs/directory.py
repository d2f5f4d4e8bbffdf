"""A run's directory: whether a run may start or go on there."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from scalecli import strict
from scalecli.architectures.recorded import shape_of_run
from scalecli.data.text.vocabulary import Vocabulary
from scalecli.devices import Devices
from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.manifest import Manifest, VocabularyEntry, load_manifest
from scalecli.storage.files import write_atomically
from scalecli.storage.holding import holding
from scalecli.storage.run_storage import RunStorage

VOCABULARY_FILE = "vocabulary.model"
# All that decides the numbers of a run. How long it runs, on which devices, and what came out are not among it.
_CONFIGURATION = (
    *("kind", "architecture", "shape", "data", "objective", "optimizer", "schedule", "batch", "accumulation"),
    *("seed", "precision", "dropout", "z_loss", "parent", "origin", "start_step"),
)
_NOT_COMPARED = {"data.unknown"}  # an outcome, and missing in older manifests
# Of tasks an outcome, too: rows are as long as the examples need. How long they may be is in the tasks' definitions.
_LENGTHS_OF_ROWS = {"data.inputs_length", "data.targets_length"}
# Files may move: a hash of their content stands beside their paths.
_PATHS = {"parent.path", "origin.source", "data.name", "data.vocabulary.file"}
_PATHS_OF_TASKS = ("train", "validation", "test", "data_dir")
_VOCABULARY_NAME = "data.vocabulary.name"


@contextlib.contextmanager
def held_storage(storage: RunStorage, devices: Devices, say: Callable[[str], None]) -> Iterator[None]:
    """Prepares a run's directory, with what is kept of the run, and holds off other processes within the block.

    `say` receives a line about what is waited for.

    Raises:
        HeldError: another process is at work on the run.
        ScalecliError: the directory can't be made or written, or what is kept can't be read.
    """
    with prepared_directory(storage.directory), contextlib.ExitStack() as held:
        if devices.chief:
            storage.hold = held.enter_context(holding(storage.holder_record(), storage.address, say))
        with devices.watched():
            storage.refresh()
            devices.highest([0.0])  # when all hosts have read: one of them will write
        yield


@contextlib.contextmanager
def prepared_directory(directory: Path) -> Iterator[None]:
    """Makes a directory that can be written; if the block fails and leaves it empty, it is removed.

    Raises:
        ScalecliError: it can't be made or written.
    """
    made = [folder for folder in (directory, *directory.parents) if not folder.exists()]
    try:
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):  # says more than permission bits do: root, read-only mounts
                pass
        except OSError as error:
            raise ScalecliError(f"{directory}: not a directory that can be written ({error.strerror})") from error
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # of the first that is not empty
            for folder in made:
                folder.rmdir()
        raise


def resumed_manifest(manifest: Manifest, storage: RunStorage) -> Manifest:
    """The manifest to go on with: `manifest`, with what a run in the directory has done so far.

    A complete run's own manifest comes back unchanged.

    Raises:
        ConfigurationError: the run there has another configuration (says what differs), or has gone further already.
    """
    try:
        before = load_manifest(storage.directory)
    except MissingError:
        return manifest
    if changes := differences(before, manifest):
        raise ConfigurationError(
            f"{storage.address}: holds a run of another configuration ({'; '.join(changes)}); choose another directory"
        )
    shape_of_run(before, storage.address)  # says what else has changed in the code of an architecture
    if before.steps > manifest.steps:
        raise ConfigurationError(f"{storage.address}: holds a run of {before.steps} steps; {manifest.steps} asked for")
    if before.status == "completed" and before.steps == manifest.steps:
        return before
    return replace(
        manifest,
        created=before.created,
        results=before.results,
        best=before.best,
        checkpoints=before.checkpoints,
        throughput=before.throughput,
        warnings=before.warnings,
    )


def vocabulary_entry(vocabulary: Vocabulary, name: str) -> VocabularyEntry:
    """The manifest's entry for a vocabulary that is kept in the run's directory."""
    return VocabularyEntry(name=name, file=VOCABULARY_FILE, sha256=vocabulary.sha256, pieces=vocabulary.pieces)


def keep_vocabulary(vocabulary: Vocabulary, directory: Path) -> None:
    """Copies the vocabulary into a run's directory, so that the run can be used wherever it is taken."""
    write_atomically(directory / VOCABULARY_FILE, vocabulary.path.read_bytes())


def differences(a: Manifest, b: Manifest) -> list[str]:
    """Says where the configuration `b` differs from the run `a`: `optimizer.learning_rate: 0.01 in the run, 0.001 now`.

    Only what decides the numbers counts, so an empty list means that `b` may go on where `a` stopped.
    """
    run, now = _configuration(a), _configuration(b)
    ignored = _NOT_COMPARED | _PATHS
    if now.get("data.kind") == "task":
        ignored |= _LENGTHS_OF_ROWS
    # Of a trained vocabulary the name says how it was made; any other name is a path.
    if not now.get(_VOCABULARY_NAME, "").startswith("train:"):
        ignored.add(_VOCABULARY_NAME)
    return [
        f"{key}: {run.get(key, 'nothing')} in the run, {now.get(key, 'nothing')} now"
        for key in dict.fromkeys((*run, *now))
        if key not in ignored and not _is_path(key) and run.get(key) != now.get(key)
    ]


def _is_path(key: str) -> bool:
    """Whether a key holds a path of a task, or describes a file whose hash is part of `data.identity`."""
    in_task = key.startswith(("data.task.", "data.tasks.")) and key.rpartition(".")[2] in _PATHS_OF_TASKS
    return in_task or key.startswith("origin.files.")


def _configuration(manifest: Manifest) -> dict[str, Any]:
    parts = {name: getattr(manifest, name) for name in _CONFIGURATION}
    return dict(_leaves(strict.to_mapping({name: part for name, part in parts.items() if part is not None})))


def _leaves(mapping: dict[Any, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in mapping.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
