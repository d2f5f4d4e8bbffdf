"""A trained run, which other runs start from, or which is evaluated or exported."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from scalecli.architectures import Shape, build_image_spec, build_spec, build_text_spec
from scalecli.architectures.recorded import shape_of_run
from scalecli.data.text.vocabulary import Vocabulary, load_vocabulary
from scalecli.errors import ConfigurationError, MissingError
from scalecli.manifest import Data, ImageData, Manifest, Parent, load_manifest, manifest_hash
from scalecli.specs import EncoderDecoder, EncoderOnly, ModelSpec
from scalecli.storage import layout
from scalecli.storage.files import are_plain, is_remote
from scalecli.storage.layout import MANIFEST
from scalecli.storage.run_storage import RunStorage, open_storage
from scalecli.training import checkpoints

if TYPE_CHECKING:
    import numpy as np

    from scalecli.models.trainable import Trainable

CLASSES_FILE = "classes.txt"  # the names of the classes of images, a line each


@dataclass(frozen=True)
class Trained:
    """A run that other runs start from, or that is evaluated: its manifest and one of its checkpoints."""

    storage: RunStorage
    manifest: Manifest
    step: int

    @property
    def address(self) -> str:
        """The run's address, as users write it."""
        return self.storage.address

    @property
    def folder(self) -> Path:
        """The folder of the run's checkpoints."""
        return self.storage.directory / self.manifest.checkpoints.directory

    @property
    def checkpoint(self) -> Path:
        """The checkpoint's folder; `fetched` puts files of a bucket into it."""
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
        """The spec of a model that reads text. Raises ConfigurationError where it reads images."""
        return build_text_spec(self.manifest.architecture, self.shape)

    @property
    def image_spec(self) -> EncoderOnly:
        """The spec of a model that reads images. Raises ConfigurationError where it reads text."""
        return build_image_spec(self.manifest.architecture, self.shape)

    def text_data(self) -> Data:
        """The text or the tasks that the run was trained on. Raises ConfigurationError for images."""
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
        _check_within(data.vocabulary.file, f"{self.address}/{MANIFEST}: data.vocabulary.file")
        file = self.storage.directory / data.vocabulary.file
        vocabulary = load_vocabulary(str(file), cache_directory=cache_directory)
        if vocabulary.sha256 != data.vocabulary.sha256:
            raise MissingError(f"{file}: not the vocabulary of this run (its SHA-256 is another)")
        return vocabulary

    def classes(self) -> tuple[str, ...]:
        """The names of the classes that the run was trained on; empty where they aren't known.

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
        """The checkpoint's folder, with those of the named files that it has.

        Raises:
            ScalecliError: they are in a bucket, and can't be fetched.
        """
        self.storage.fetch(*(self.checkpoint / name for name in names))
        return self.checkpoint

    def load_into(self, model: Trainable) -> None:
        """Gives a model of the run's spec the checkpoint's weights. Raises as `weights` does."""
        checkpoints.assign(model.weights_by_path(), self.weights(), str(self.checkpoint))

    def weights(self) -> dict[str, np.ndarray]:
        """The checkpoint's weights by path.

        Raises:
            MissingError: the checkpoint is damaged.
            ConfigurationError: it is of another architecture or shape than the manifest says.
        """
        checkpoint = self.fetched(layout.WEIGHTS)
        described = checkpoints.read_description(checkpoint)
        file = checkpoint / layout.DESCRIPTION
        theirs = {
            "architecture": described.architecture,
            **Shape.from_dict(described.shape, f"{file}: shape").to_dict(),
        }
        ours = {"architecture": self.manifest.architecture, **self.shape.to_dict()}
        for key in dict.fromkeys((*ours, *theirs)):
            if theirs.get(key) != ours.get(key):
                stated = f"{key} is {theirs.get(key, 'missing')}, and {ours.get(key, 'missing')} in {MANIFEST}"
                raise ConfigurationError(f"{file}: {stated}; one of the two is damaged")
        return checkpoints.load_arrays(checkpoint, layout.WEIGHTS)

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
    where = f"{storage.address}/{MANIFEST}: checkpoints.directory"
    if is_remote(path) and folder != layout.CHECKPOINTS:  # where else a manifest leads, files are not fetched to
        raise ConfigurationError(f"{where} is {folder!r}; in a bucket it is {layout.CHECKPOINTS}")
    _check_within(folder, where)
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
    """The storage of the run, and the step where the path is a checkpoint's folder."""
    directory = Path(os.path.abspath(path))  # even `.` has a name and a parent then
    if (directory / layout.DESCRIPTION).is_file():
        return RunStorage(directory.parent.parent), checkpoints.read_description(directory).step
    return RunStorage(directory.parent if directory.is_file() else directory), None


def _bucket_storage(address: str, cache_directory: Path) -> tuple[RunStorage, int | None]:
    """The same for an address in a bucket, from which files are fetched."""
    address = address.rstrip("/").removesuffix(f"/{MANIFEST}")
    own = re.fullmatch(rf"(.+)/{layout.CHECKPOINTS}/([0-9]{{8,}})", address)
    storage = open_storage(own[1] if own else address, cache_directory).reading_copy()
    storage.refresh()
    if not (storage.directory / MANIFEST).is_file():
        raise MissingError(f"{storage.address}: no {MANIFEST} there, and so no run")
    return storage, int(own[2]) if own else None
