"""Labeled images to train on and to measure on: a folder for each class, or a TensorFlow dataset."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from scalecli.data.images.folders import FolderImages
from scalecli.data.images.tree import ImageTree
from scalecli.data.images.views import Cuts
from scalecli.data.order import HostShare
from scalecli.data.sources import OnWork
from scalecli.errors import ConfigurationError, MissingError
from scalecli.specs.vision import PADDING_LABEL
from scalecli.storage.cache import Say
from scalecli.storage.files import is_remote


class Images(Protocol):
    """Labeled images of one split, in an order in which the first ones are a random sample of all."""

    @property
    def name(self) -> str:
        """The name of their source, for messages."""

    @property
    def identity(self) -> str:
        """A hash of the images, or a dataset's name and version."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the labels 0, 1 ..."""

    @property
    def images(self) -> int:
        """The number of images."""

    @property
    def file(self) -> str:
        """One of the files that are read."""

    @property
    def left_out(self) -> dict[str, int]:
        """Files that are no images, counted by reason."""

    @property
    def notes(self) -> list[str]:
        """Lines for a person to read."""

    def training(self, size: int, cuts: Cuts, *, batch: int, seed: int) -> Callable[[int, HostShare], Any]:
        """A function of a step and a host's share: the endless tf.data.Dataset of training batches from there on.

        They have float32 "images" [batch, size, size, 3] from -1 to 1, and int32 "labels" [batch]. Batch `step` is the
        same whichever step is the first; every epoch meets every image once, in an order and with cuts of its own.
        """

    def labels(self, per_class: int | None = None) -> np.ndarray:
        """The labels of the images, int32 [images], or of as many first ones as hold so many of each class."""

    def middle_views(self, size: int, numbers: np.ndarray) -> Any:
        """The images of these ascending numbers as a tf.data.Dataset, with "images" and "labels", to measure on."""


def measured_batches(images: Images, size: int, numbers: np.ndarray, batch: int) -> Any:
    """The images of these ascending numbers in batches, as a tf.data.Dataset; padding rows, label -1, end the last."""
    import tensorflow as tf

    padding = {"images": tf.zeros([size, size, 3]), "labels": tf.constant(PADDING_LABEL)}
    rows = tf.data.Dataset.from_tensors(padding).repeat(-len(numbers) % batch)
    examples = images.middle_views(size, numbers).concatenate(rows)
    return examples.batch(batch, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


@dataclass(frozen=True)
class ImageSource:
    """Images that a person named: a folder of folders, or a TensorFlow dataset.

    `split` and `held_out` are a dataset's splits, or parts of them, such as `train[:1%]`; of a folder they are the
    names of folders in it. Without them they are `train`, and the first of `validation`, `val` and `test` that is
    there; where a folder has no such folders, or none for held-out images, every tenth image of each class is held out.
    """

    name: str
    data_dir: str | None = None
    split: str | None = None
    held_out: str | None = None

    def __post_init__(self) -> None:
        if self.data_dir and self.is_folder:
            raise ConfigurationError(f"--data-dir goes with a TensorFlow dataset, and {self.name} is a folder")

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder: one that is there, or what can be nothing else by its form."""
        is_path = self.name.startswith((os.curdir, os.sep, "~")) or self.name.endswith(os.sep)
        return is_path or is_remote(self.name) or os.path.isdir(self.name)

    @property
    def kind(self) -> Literal["image-folder", "image-dataset"]:
        """As manifests name it."""
        return "image-folder" if self.is_folder else "image-dataset"

    def count_classes(self) -> int:
        """The number of classes, without decoding an image; of a folder without TensorFlow.

        Raises:
            MissingError: there are no such images.
            ConfigurationError: the dataset has no image with one label.
        """
        if self.is_folder:
            training, _ = ImageTree.of(self.name).splits(self.split, self.held_out)
            return len(training.classes)
        return len(self._dataset(self.split, ("train",), download=False).classes)

    def check(self) -> None:
        """Checks that the images are there. Raises as `count_classes` does."""
        self.count_classes()

    def open(self, cache_directory: Path, on_work: OnWork, say: Say = lambda message: None) -> tuple[Images, Images]:
        """The images to train on, and the held-out ones.

        Every file of a folder is decoded once, and what was found is kept in the cache; `say` is told of a cache that
        is damaged or can't be written.

        Raises:
            MissingError: there are no such images, or none of a class that others are of.
            ConfigurationError: the dataset has no image with one label.
        """
        if self.is_folder:
            training, held_out = ImageTree.of(self.name).splits(self.split, self.held_out)
            first = FolderImages.open(training, cache_directory, on_work, say=say)
            return first, FolderImages.open(held_out, cache_directory, on_work, first.classes, say)
        return self._dataset(self.split, ("train",)), self._dataset(self.held_out, ("validation", "test"))

    def _dataset(self, split: str | None, usual: tuple[str, ...], download: bool = True) -> Any:
        from scalecli.data.images.datasets import DatasetImages

        try:
            return DatasetImages.open(self.name, split, usual, self.data_dir, download=download)
        except MissingError as error:
            raise MissingError(f"{error}; nor is there a folder {self.name}") from error
