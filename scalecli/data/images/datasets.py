"""The labeled images of a TensorFlow dataset, read in windows as they are trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from scalecli.data.datasets import DatasetSplit, open_dataset, open_split, readable
from scalecli.data.images.views import Cuts, middle_view, random_view
from scalecli.data.order import HostShare
from scalecli.data.windows import DAMAGED, Windows
from scalecli.errors import ConfigurationError, MissingError

WINDOW_IMAGES = 1_024  # of 110 KB each in ImageNet
_UNLABELED = "it has images without a label; choose another split"


@dataclass(frozen=True)
class DatasetImages:
    """See `scalecli.data.images.source.Images`. Datasets are shuffled when prepared, so their order is random.

    `image` and `label` are the names of the features.
    """

    split: DatasetSplit
    image: str
    label: str
    classes: tuple[str, ...]
    window: int = WINDOW_IMAGES
    left_out: dict[str, int] = field(default_factory=dict)  # a dataset has images alone
    notes: list[str] = field(default_factory=list)

    @classmethod
    def open(
        cls, name: str, split: str | None, usual: tuple[str, ...], data_dir: str | None, *, download: bool
    ) -> DatasetImages:
        """A split of a dataset, by default the first of the `usual` ones; `download` as in `open_split`.

        Raises:
            MissingError: the name, the split or the files are not there.
            ConfigurationError: it has no image with one label.
        """
        known = open_dataset(name, data_dir, download=download).info.splits
        if split is None and not {*usual} & {*known}:
            raise MissingError(
                f"dataset {name}: no split {' or '.join(usual)}; it has {', '.join(known)}: --split and "
                "--validation-split take parts of them, such as train[1%:] and train[:1%]"
            )
        chosen = split or next(name for name in usual if name in known)
        dataset = open_split(name, chosen, data_dir)
        features = dataset.builder.info.features
        image, label = _features(name, features)
        return cls(dataset, image, label, tuple(features[label].names))

    @property
    def name(self) -> str:
        """The dataset's name, version and split."""
        return f"{self.split.identity} {self.split.name}"

    @property
    def identity(self) -> str:
        """The name, which has the version in it."""
        return self.name

    @property
    def images(self) -> int:
        """The number of images."""
        return self.split.examples

    @property
    def file(self) -> str:
        """The first shard."""
        return self.split.shards()[0][0]

    def training(self, size: int, cuts: Cuts, *, batch: int, seed: int) -> Callable[[int, HostShare], Any]:
        """The training batches of a host from a step on."""
        import tensorflow as tf

        sizes = np.array([length for _, _, length in self.split.shards()])
        windows = Windows.of(self.split, sizes, full=self.window, window=self.window, seed=seed)

        def example(serialized: tf.Tensor, n: tf.Tensor) -> dict[str, tf.Tensor]:
            encoded, label = self._parsed(serialized)
            return {"images": random_view(encoded, n, seed, size, cuts), "labels": label}

        def batches(start_step: int, share: HostShare) -> Any:
            start = start_step * batch

            def shuffled(serialized: tf.Tensor, shard: tf.Tensor, window: tf.Tensor, first: tf.Tensor) -> Any:
                serialized, count = windows.whole(serialized, shard, window)
                numbers = tf.range(tf.maximum(start - first, 0), count)
                order = tf.random.experimental.index_shuffle(
                    numbers, tf.stack([tf.constant(seed, tf.int64), first]), count - 1
                )
                return tf.data.Dataset.from_tensor_slices((tf.gather(serialized, order), first + numbers))

            images = windows.from_item(start).prefetch(1).flat_map(shuffled)
            if share.hosts > 1:
                images = images.filter(lambda serialized, n: share.has(n, batch))
            examples = images.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
            return examples.batch(share.piece(batch), drop_remainder=True).prefetch(tf.data.AUTOTUNE)

        return batches

    def labels(self, per_class: int | None = None) -> np.ndarray:
        """The labels of the images, up to the one that completes `per_class` of each class.

        Raises:
            MissingError: a file is damaged, or an image has no label.
        """
        import tensorflow as tf

        batches = (
            self._records()
            .batch(self.window)
            .map(lambda serialized: tf.io.parse_example(serialized, {self.label: tf.io.FixedLenFeature([], tf.int64)}))
        )
        labels, counts = [np.zeros(0, np.int32)], np.zeros(len(self.classes), np.int64)
        with readable(self.split.identity):
            for batch in batches.as_numpy_iterator():
                if batch[self.label].min() < 0:
                    raise MissingError(f"dataset {self.name}: {_UNLABELED}")
                labels.append(batch[self.label].astype(np.int32))
                counts += np.bincount(labels[-1], minlength=len(counts))
                if per_class is not None and counts.min() >= per_class:
                    break
            else:
                if sum(map(len, labels)) != self.images:
                    raise MissingError(f"dataset {self.name}: {DAMAGED}")
        return np.concatenate(labels)

    def middle_views(self, size: int, numbers: np.ndarray) -> Any:
        """The images of these numbers; the files are read up to the last of them."""
        import tensorflow as tf

        wanted = np.zeros(int(numbers.max(initial=-1)) + 1, bool)
        wanted[numbers] = True
        with tf.device("CPU"):
            is_wanted = tf.constant(wanted)

        def example(_: tf.Tensor, serialized: tf.Tensor) -> dict[str, tf.Tensor]:
            encoded, label = self._parsed(serialized)
            return {"images": middle_view(encoded, size), "labels": label}

        records = self._records().take(len(wanted)).enumerate().filter(lambda number, _: is_wanted[number])
        return records.map(example, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)

    def _records(self) -> Any:
        import tensorflow as tf

        paths, skips, lengths = map(list, zip(*self.split.shards(), strict=True))
        shards = tf.data.Dataset.from_tensor_slices((paths, np.array(skips, np.int64), np.array(lengths, np.int64)))
        return shards.flat_map(self.split.records)

    def _parsed(self, serialized: Any) -> tuple[Any, Any]:
        """The encoded image and the label, int32, of an example; an error in the graph where it has none."""
        import tensorflow as tf

        features = {self.image: tf.io.FixedLenFeature([], tf.string), self.label: tf.io.FixedLenFeature([], tf.int64)}
        parsed = tf.io.parse_single_example(serialized, features)
        with tf.control_dependencies([tf.debugging.assert_non_negative(parsed[self.label], message=_UNLABELED)]):
            return parsed[self.image], tf.cast(parsed[self.label], tf.int32)


def _features(name: str, features: Any) -> tuple[str, str]:
    """The names of a dataset's image and of its label. Raises ConfigurationError where there are not one of each."""
    import tensorflow_datasets as tfds

    images = [key for key, feature in features.items() if isinstance(feature, tfds.features.Image)]
    labels = [key for key, feature in features.items() if isinstance(feature, tfds.features.ClassLabel)]
    preferred = [key for key in labels if key == "label"] or labels
    fitting = len(images) == len(preferred) == 1 and features[images[0]].np_dtype == np.uint8
    if not fitting or features[preferred[0]].num_classes is None:
        raise ConfigurationError(
            f"dataset {name}: an image of 8 bits with one class label is accepted; it has {', '.join(features)}"
        )
    return images[0], preferred[0]
