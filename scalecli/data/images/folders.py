"""Images in a folder for each class, read as they are trained on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from scalecli.data.images.checked import examine
from scalecli.data.images.tree import ImageFiles, in_order
from scalecli.data.images.views import Cuts, middle_view, random_view
from scalecli.data.order import HostShare, shuffled_index
from scalecli.data.sources import OnWork
from scalecli.errors import MissingError
from scalecli.storage.cache import Say


@dataclass(frozen=True)
class FolderImages:
    """See `scalecli.data.images.source.Images`."""

    name: str
    identity: str
    classes: tuple[str, ...]
    paths: tuple[bytes, ...]
    numbers: np.ndarray  # int32 [images]: the labels
    left_out: dict[str, int]
    notes: list[str]

    @classmethod
    def open(
        cls,
        files: ImageFiles,
        cache_directory: Path,
        on_work: OnWork,
        classes: tuple[str, ...] | None = None,
        say: Say = lambda message: None,
    ) -> FolderImages:
        """The undamaged images among files, each decoded once; `classes` are the accepted ones, by default its own.

        `say` is told of a cache that is damaged or can't be written.

        Raises:
            MissingError: no image is whole, or one is of another class.
        """
        class_of = {file: name for name, members in files.by_class.items() for file in members}
        ordered = in_order(list(class_of))
        examined = examine(files, ordered, cache_directory, on_work, say)
        whole = [file for file in ordered if file not in examined.left_out]
        left_out = {**files.left_out, **Counter(examined.left_out.values())}
        if not whole:
            example = f"{ordered[0]} ({examined.left_out[ordered[0]]})"
            raise MissingError(f"{files.name}: none of {len(ordered):,} images can be used, such as {example}")
        own = tuple(sorted({class_of[file] for file in whole}))
        unknown = sorted({*own} - {*(classes or own)})
        if unknown:
            raise MissingError(f"{files.name}: class {unknown[0]!r} has no images to train on")
        label = {name: number for number, name in enumerate(classes or own)}
        numbers = np.array([label[class_of[file]] for file in whole], np.int32)
        paths = tuple(files.path(file) for file in whole)
        return cls(files.name, examined.identity, classes or own, paths, numbers, left_out, examined.notes(files.name))

    @property
    def images(self) -> int:
        """The number of images."""
        return len(self.paths)

    @property
    def file(self) -> str:
        """The first image."""
        return os.fsdecode(self.paths[0])

    def training(self, size: int, cuts: Cuts, *, batch: int, seed: int) -> Callable[[int, HostShare], Any]:
        """The training batches of a host from a step on."""
        import tensorflow as tf

        paths, labels = self._tensors()

        def example(n: tf.Tensor) -> dict[str, tf.Tensor]:
            index = shuffled_index(n, self.images, seed)
            return {"images": random_view(tf.io.read_file(paths[index]), n, seed, size, cuts), "labels": labels[index]}

        def batches(start_step: int, share: HostShare) -> Any:
            examples = share.numbers(start_step, batch)
            examples = examples.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            return examples.batch(share.piece(batch), drop_remainder=True).prefetch(tf.data.AUTOTUNE)

        return batches

    def labels(self, per_class: int | None = None) -> np.ndarray:
        """The labels of all images: they are known without reading any."""
        return self.numbers

    def middle_views(self, size: int, numbers: np.ndarray) -> Any:
        """The images of these numbers."""
        import tensorflow as tf

        paths, labels = self._tensors()

        def example(n: tf.Tensor) -> dict[str, tf.Tensor]:
            return {"images": middle_view(tf.io.read_file(paths[n]), size), "labels": labels[n]}

        numbered = tf.data.Dataset.from_tensor_slices(np.asarray(numbers, np.int64))
        return numbered.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _tensors(self) -> tuple[Any, Any]:
        import tensorflow as tf

        with tf.device("CPU"):
            return tf.constant(self.paths), tf.constant(self.numbers)
