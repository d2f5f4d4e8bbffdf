"""A run's directory: whether a run may start or go on there, and what a run that is there can give."""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scalecli.architectures import Shape, build_image_spec, build_spec, build_text_spec
from scalecli.architectures.recorded import shape_of_run
from scalecli.data.text.vocabulary import Vocabulary, load_vocabulary
from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.manifest import (
    FILE_NAME,
    Data,
    ImageData,
    Manifest,
    Parent,
    VocabularyEntry,
    load_manifest,
    manifest_hash,
)
from scalecli.runs.differences import differences
from scalecli.specs import EncoderDecoder, EncoderOnly, ModelSpec
from scalecli.storage import layout
from scalecli.storage.files import are_plain, is_remote, write_atomically
from scalecli.storage.holding import holding
from scalecli.storage.run_storage import RunStorage, open_storage
from scalecli.training import checkpoints

if TYPE_CHECKING:
    import numpy as np

    from scalecli.devices import Devices
    from scalecli.models.trainable import Trainable

VOCABULARY_FILE = "vocabulary.model"
CLASSES_FILE = "classes.txt"  # the names of the classes of images, a line each


@contextlib.contextmanager
def held_storage(storage: RunStorage, devices: Devices, say: Callable[[str], None]) -> Iterator[None]:
    """Within it a run's directory is there, with what is kept of the run in it, and no other process works on the run.

    `say` is called with what is waited for.

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
    """Within it a directory is there and can be written; one made for it that an error leaves empty is removed.

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
    """The manifest to go on with: `manifest` itself in a new place, else with what the run there has done so far.

    Of a run that is complete it is the run's own, unchanged.

    Raises:
        ConfigurationError: the run there has another configuration (says what differs), or has gone further already.
    """
    try:
        before = load_manifest(storage.directory)
    except MissingError:
        return manifest
    if found := differences(before, manifest):
        raise ConfigurationError(
            f"{storage.address}: holds a run of another configuration ({'; '.join(found)}); choose another directory"
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


@dataclass(frozen=True)
class Trained:
    """A run that other runs start from, or that is evaluated: its manifest and one of its checkpoints."""

    storage: RunStorage
    manifest: Manifest
    step: int

    @property
    def address(self) -> str:
        """Where the run is, as users call it."""
        return self.storage.address

    @property
    def folder(self) -> Path:
        """The folder of all its checkpoints."""
        return self.storage.directory / self.manifest.checkpoints.directory

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's folder; `fetched` sees to it that there are files in it."""
        return self.folder / f"{self.step:08d}"

    @property
    def shape(self) -> Shape:
        """The model's shape."""
        return shape_of_run(self.manifest, self.address)

    @property
    def spec(self) -> ModelSpec:
        """The model's spec."""
        return build_spec(self.manifest.architecture, self.shape)

    @property
    def text_spec(self) -> EncoderDecoder:
        """The same, of a model that reads text. Raises ConfigurationError where it reads images."""
        return build_text_spec(self.manifest.architecture, self.shape)

    @property
    def image_spec(self) -> EncoderOnly:
        """The same, of a model that reads images. Raises ConfigurationError where it reads text."""
        return build_image_spec(self.manifest.architecture, self.shape)

    def text_data(self) -> Data:
        """The text or the tasks that the run was trained on. Raises ConfigurationError where these are images."""
        if isinstance(self.manifest.data, ImageData):
            raise ConfigurationError(f"{self.address}: trained on images; a run that was trained on text is accepted")
        return self.manifest.data

    def vocabulary(self, cache_directory: Path) -> Vocabulary:
        """The run's vocabulary, from its own directory.

        Raises:
            MissingError: the file is not there, or is not the one that the run was trained with.
            ConfigurationError: the run was trained on images.
        """
        data = self.text_data()
        _check_within(data.vocabulary.file, f"{self.address}/{FILE_NAME}: data.vocabulary.file")
        file = self.storage.directory / data.vocabulary.file
        vocabulary = load_vocabulary(str(file), cache_directory=cache_directory)
        if vocabulary.sha256 != data.vocabulary.sha256:
            raise MissingError(f"{file}: not the vocabulary of this run (its SHA-256 is another)")
        return vocabulary

    def classes(self) -> tuple[str, ...]:
        """The names of the classes of images that the run was trained on; none where they aren't known.

        Raises:
            MissingError: the file that holds them is damaged.
        """
        file = self.storage.directory / CLASSES_FILE
        self.storage.fetch(file)
        try:
            return tuple(file.read_text(encoding="utf-8").splitlines()) if file.is_file() else ()
        except UnicodeDecodeError as error:
            raise MissingError(f"{file}: damaged (byte {error.start:,} is not UTF-8)") from error

    def fetched(self, *names: str) -> Path:
        """The checkpoint's folder, with these of its files if it has them.

        Raises:
            ScalecliError: they are in a bucket, and can't be fetched.
        """
        self.storage.fetch(*(self.checkpoint / name for name in names))
        return self.checkpoint

    def load_into(self, model: Trainable) -> None:
        """Gives a model of the run's spec the checkpoint's weights.

        Raises:
            MissingError: the checkpoint is damaged.
            ConfigurationError: it is of another shape than the manifest says.
        """
        checkpoints.assign(model.weights_by_path(), self.weights(), str(self.checkpoint))

    def weights(self) -> dict[str, np.ndarray]:
        """The checkpoint's weights by path. Raises MissingError when it is damaged."""
        return checkpoints.load_arrays(self.fetched(layout.WEIGHTS), layout.WEIGHTS)

    def check_optimizer(self, name: str) -> None:
        """Checks that the checkpoint holds the state of that optimizer.

        Raises:
            MissingError: it holds none.
            ConfigurationError: it holds another one's.
        """
        if layout.OPTIMIZER not in checkpoints.read_description(self.checkpoint).sha256:
            raise MissingError(f"{self.checkpoint}: holds no state of the optimizer; an import takes it by --optimizer")
        if (its := self.manifest.optimizer["name"]) != name:
            raise ConfigurationError(
                f"{self.address}: its optimizer is {its}, and this run's {name}; give --optimizer {its}"
            )

    def as_parent(self, child: RunStorage) -> Parent:
        """How a child's manifest names this run: by its path seen from the child, its hash, and the step."""
        return Parent(
            path=self.storage.relative_to(child), sha256=manifest_hash(self.storage.directory), step=self.step
        )


def open_trained(path: str, cache_directory: Path, step: int | None = None) -> Trained:
    """The run in a directory or a bucket, or of one of its checkpoints' folders, at `step` or at its last checkpoint.

    Of a run in a bucket the copy in the cache holds no more than what is asked for.

    Raises:
        MissingError: there is no run, or no such checkpoint, or the bucket can't be read.
        ConfigurationError: the manifest is not valid.
        UsageError: an address that is not in a bucket.
    """
    storage, step_there = (_bucket_storage if is_remote(path) else _local_storage)(path, cache_directory)
    step = step if step_there is None else step_there
    trained = Trained(storage, load_manifest(storage.directory), 0)
    folder = trained.manifest.checkpoints.directory
    address = f"{storage.address}/{folder}"
    if is_remote(path) and folder != layout.CHECKPOINTS:  # where else a manifest leads, files are not fetched to
        where = f"{storage.address}/{FILE_NAME}: checkpoints.directory"
        raise ConfigurationError(f"{where} is {folder!r}; in a bucket it is {layout.CHECKPOINTS}")
    _check_within(folder, f"{storage.address}/{FILE_NAME}: checkpoints.directory")
    steps = checkpoints.checkpoint_steps(trained.folder)
    if not steps:
        raise MissingError(f"{address}: no checkpoint")
    if step is not None and step not in steps:
        raise MissingError(f"{address}: no checkpoint of step {step}; there are {', '.join(map(str, steps))}")
    return replace(trained, step=steps[-1] if step is None else step)


def _check_within(path: str, where: str) -> None:
    """Checks that a path in a manifest stays in the run's directory.

    Raises:
        ConfigurationError: it doesn't; says where it stands.
    """
    if not are_plain(path.split("/")):
        raise ConfigurationError(f"{where} is {path!r}; a path within the run's directory is accepted")


def _local_storage(path: str, cache_directory: Path) -> tuple[RunStorage, int | None]:
    """Where the run is, and the step of the checkpoint whose folder the path is, if it is one's."""
    directory = Path(os.path.abspath(path))  # even `.` has a name and a parent then
    if (directory / layout.DESCRIPTION).is_file():
        return RunStorage(directory.parent.parent), checkpoints.read_description(directory).step
    return RunStorage(directory.parent if directory.is_file() else directory), None


def _bucket_storage(address: str, cache_directory: Path) -> tuple[RunStorage, int | None]:
    """Likewise in a bucket, from which its files are fetched."""
    address = address.rstrip("/").removesuffix(f"/{FILE_NAME}")
    own = re.fullmatch(rf"(.+)/{layout.CHECKPOINTS}/([0-9]{{8,}})", address)
    storage = open_storage(own[1] if own else address, cache_directory).reading_copy()
    storage.refresh()
    if not (storage.directory / FILE_NAME).is_file():
        raise MissingError(f"{storage.address}: no {FILE_NAME} there, and so no run")
    return storage, int(own[2]) if own else None


def vocabulary_entry(vocabulary: Vocabulary, name: str) -> VocabularyEntry:
    """The manifest's entry for a vocabulary that is kept in the run's directory."""
    return VocabularyEntry(name=name, file=VOCABULARY_FILE, sha256=vocabulary.sha256, pieces=vocabulary.pieces)


def keep_vocabulary(vocabulary: Vocabulary, directory: Path) -> None:
    """Copies the vocabulary into a run's directory, so that the run can be used wherever it is taken."""
    write_atomically(directory / VOCABULARY_FILE, vocabulary.path.read_bytes())
