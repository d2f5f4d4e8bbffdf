"""Every image file is decoded once before training; the cache keeps which are undamaged, and what they hold."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from scalecli.data.datasets import readable
from scalecli.data.images.tree import UNREADABLE, ImageFiles
from scalecli.data.images.views import MOST_PIXELS, decode_as_is
from scalecli.data.sources import OnWork
from scalecli.storage.cache import Say, cached_text
from scalecli.strict import from_mapping

BROKEN, TOO_LARGE = "broken images", f"images of more than {MOST_PIXELS:,} pixels"
NO_FILES = "files that cannot be read"
_FORM = 2  # of the cached file


@dataclass(frozen=True)
class Examined:
    """A hash of the images, which ones can't be used and why, and how many are gray and how many transparent."""

    identity: str
    left_out: dict[str, str]
    grey: int  # a key of cached files
    transparent: int

    def notes(self, name: str) -> list[str]:
        """A line for each kind of image that is not in three colors, as the model will see it."""
        counts = {
            "gray images, taken for three equal colors": self.grey,
            "images with transparency, laid on white": self.transparent,
        }
        return [f"{name}: {what} ({count:,})" for what, count in counts.items() if count]


def examine(
    files: ImageFiles, ordered: Sequence[str], cache_directory: Path, on_work: OnWork, say: Say = lambda message: None
) -> Examined:
    """Decodes the files of a split, or reads the result from the cache if they have not changed.

    `say` is told of a cache that is damaged or can't be written.

    Raises:
        MissingError: a file cannot be read, which says nothing about the image in it.
    """
    listed = json.dumps([_FORM, files.root, [[file, files.stamps[file]] for file in ordered]])
    cached = cache_directory / "images" / f"{hashlib.sha256(listed.encode()).hexdigest()[:32]}.json"
    text = cached_text(cached, lambda: json.dumps(asdict(_decode_all(files, ordered, on_work))), say)
    return from_mapping(Examined, json.loads(text), str(cached))


def _decode_all(files: ImageFiles, ordered: Sequence[str], on_work: OnWork) -> Examined:
    import tensorflow as tf

    with tf.device("CPU"):
        paths = tf.constant([files.path(file) for file in ordered])

    def look(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        contents = tf.io.read_file(paths[number])
        height, width, channels = tf.unstack(tf.shape(decode_as_is(contents), tf.int64))
        return number, height * width, channels, tf.fingerprint(contents[None])[0]

    left_out = {file: NO_FILES for file in ordered if files.stamps[file] == UNREADABLE}
    numbers = np.array([n for n, file in enumerate(ordered) if file not in left_out], np.int64)
    looked = tf.data.Dataset.from_tensor_slices(numbers).map(look, tf.data.AUTOTUNE, deterministic=True)
    digest, decoded = hashlib.sha256(), set()
    grey = transparent = 0
    for number, pixels, channels, fingerprint in looked.ignore_errors().as_numpy_iterator():
        file = ordered[number]
        decoded.add(number)
        if pixels > MOST_PIXELS:
            left_out[file] = TOO_LARGE
        else:
            digest.update(f"{file}\n".encode("utf-8", "surrogateescape") + fingerprint.tobytes())
            grey, transparent = grey + (channels < 3), transparent + (channels % 2 == 0)
        on_work(f"checked {number + 1:,} of {len(ordered):,} images", (number + 1) / len(ordered))
    broken = np.array([number for number in numbers if number not in decoded], np.int64)
    with readable(files.name):
        for _ in tf.data.Dataset.from_tensor_slices(broken).map(lambda number: tf.io.read_file(paths[number])):
            pass
    left_out |= {ordered[number]: BROKEN for number in broken}
    return Examined(f"sha256:{digest.hexdigest()}", left_out, int(grey), int(transparent))
