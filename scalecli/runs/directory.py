"""A run's directory: whether a run may start or go on there, and what a run that is there can give."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scalecli.architectures import build_image_spec, build_spec, build_text_spec
from scalecli.data.vocabulary import Vocabulary, load_vocabulary
from scalecli.differences import differences
from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.files import is_remote, write_atomically
from scalecli.manifest import Data, ImageData, Manifest, Parent, load_manifest, manifest_hash
from scalecli.manifest import Vocabulary as VocabularyEntry
from scalecli.shape import Shape
from scalecli.specs import EncoderDecoder, EncoderOnly, ModelSpec
from scalecli.training import checkpoints

if TYPE_CHECKING:
    from scalecli.models.trainable import Trainable

VOCABULARY_FILE = "vocabulary.model"


def prepare_directory(directory: Path) -> None:
    """Makes a run's directory, or finds that it can be used.

    Raises:
        ScalecliError: it can't be made or written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory):  # says more than permission bits do: root, read-only mounts
            pass
    except OSError as error:
        raise ScalecliError(f"{directory}: not a directory that can be written ({error.strerror})") from error


def take_up(manifest: Manifest, directory: Path) -> Manifest:
    """The manifest to go on with: `manifest` itself in a new directory, else with what the run there has done so far.

    Of a run that is complete it is the run's own, unchanged.

    Raises:
        ConfigurationError: the run there has another configuration (says what differs), or has gone further already.
    """
    try:
        before = load_manifest(directory)
    except MissingError:
        return manifest
    if found := differences(before, manifest):
        raise ConfigurationError(
            f"{directory}: holds a run of another configuration ({'; '.join(found)}); choose another directory"
        )
    if before.steps > manifest.steps:
        raise ConfigurationError(f"{directory}: holds a run of {before.steps} steps; {manifest.steps} asked for")
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

    directory: Path
    manifest: Manifest
    checkpoint: Path
    step: int

    @property
    def shape(self) -> Shape:
        """The model's shape."""
        return Shape.from_dict(self.manifest.shape, f"{self.directory}: shape")

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

    @property
    def text(self) -> Data:
        """The text or the tasks that the run was trained on. Raises ConfigurationError where these are images."""
        if isinstance(self.manifest.data, ImageData):
            raise ConfigurationError(f"{self.directory}: trained on images; a run that was trained on text is accepted")
        return self.manifest.data

    def vocabulary(self, cache_directory: Path) -> Vocabulary:
        """The run's vocabulary, from its own directory.

        Raises:
            MissingError: the file is not there, or is not the one that the run was trained with.
            ConfigurationError: the run was trained on images.
        """
        file = self.directory / self.text.vocabulary.file
        vocabulary = load_vocabulary(str(file), cache_directory=cache_directory)
        if vocabulary.sha256 != self.text.vocabulary.sha256:
            raise MissingError(f"{file}: not the vocabulary of this run (its SHA-256 is another)")
        return vocabulary

    def load_into(self, model: Trainable) -> None:
        """Gives a model of the run's spec the checkpoint's weights.

        Raises:
            MissingError: the checkpoint is damaged.
            ConfigurationError: it is of another shape than the manifest says.
        """
        arrays = checkpoints.load_arrays(self.checkpoint, checkpoints.WEIGHTS)
        checkpoints.assign(model.weights_by_path(), arrays, str(self.checkpoint))

    def check_optimizer(self) -> None:
        """Checks that the checkpoint holds the optimizer's state. Raises MissingError when it doesn't."""
        if checkpoints.OPTIMIZER not in checkpoints.read_description(self.checkpoint).sha256:
            raise MissingError(f"{self.checkpoint}: holds no state of the optimizer; an import takes it by --optimizer")

    def as_parent(self, child: Path) -> Parent:
        """How a child's manifest names this run: by its path seen from the child, its hash, and the step."""
        path = os.path.relpath(self.directory, child)
        return Parent(path=path, sha256=manifest_hash(self.directory), step=self.step)


def open_trained(path: str, step: int | None = None) -> Trained:
    """The run in a directory, or of one of its checkpoints' folders, at `step` or at its last checkpoint.

    Raises:
        MissingError: there is no run, or no such checkpoint.
        ConfigurationError: the manifest is not valid, or the run is in a bucket.
    """
    if is_remote(path):
        raise ConfigurationError(f"{path}: a run to go on from must be local; copy its directory from the bucket first")
    directory = Path(os.path.abspath(path))  # even `.` has a name and a parent then
    if (directory / checkpoints.DESCRIPTION).is_file():  # a checkpoint's own folder
        step, directory = checkpoints.read_description(directory).step, directory.parent.parent
    elif directory.is_file():
        directory = directory.parent
    manifest = load_manifest(directory)
    folder = directory / manifest.checkpoints.directory
    steps = checkpoints.checkpoint_steps(folder)
    if not steps:
        raise MissingError(f"{folder}: no checkpoint")
    if step is not None and step not in steps:
        raise MissingError(f"{folder}: no checkpoint of step {step}; there are {', '.join(map(str, steps))}")
    step = steps[-1] if step is None else step
    return Trained(directory, manifest, folder / f"{step:08d}", step)


def vocabulary_entry(vocabulary: Vocabulary, name: str) -> VocabularyEntry:
    """The manifest's entry for a vocabulary that is kept in the run's directory."""
    return VocabularyEntry(name=name, file=VOCABULARY_FILE, sha256=vocabulary.sha256, pieces=vocabulary.pieces)


def keep_vocabulary(vocabulary: Vocabulary, directory: Path) -> None:
    """Copies the vocabulary into a run's directory, so that the run can be used wherever it is taken."""
    write_atomically(directory / VOCABULARY_FILE, vocabulary.path.read_bytes())
