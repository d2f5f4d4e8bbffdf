"""Every image file decoded once before training: which are whole, and what they hold; kept in the cache."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scalecli.data.images_tree import ImageFiles
from scalecli.data.pictures import decode_as_is
from scalecli.files import write_atomically
from scalecli.strict import from_mapping

BROKEN = "broken images"
_FORM = 1  # of the cached file


@dataclass(frozen=True)
class Examined:
    """What was found: a hash of the whole images, the broken files, how many are grey and how many transparent."""

    identity: str
    broken: list[str]
    grey: int
    transparent: int

    def notes(self, name: str) -> list[str]:
        """A line for each kind of image that is not in three colours, as the model will see it."""
        found = {
            "grey images, taken for three equal colours": self.grey,
            "images with transparency, laid on white": self.transparent,
        }
        return [f"{name}: {what} ({count:,})" for what, count in found.items() if count]


def examine(
    files: ImageFiles, ordered: Sequence[str], cache_directory: Path, on_progress: Callable[[int, int], None]
) -> Examined:
    """Decodes the files of a split, or reads in the cache what was found when they were the same.

    Raises:
        ScalecliError: the cache cannot be written.
    """
    listed = json.dumps([_FORM, files.root, [[file, files.stamps[file]] for file in ordered]])
    cached = cache_directory / "images" / f"{hashlib.sha256(listed.encode()).hexdigest()[:32]}.json"
    if cached.is_file():
        return from_mapping(Examined, json.loads(cached.read_text(encoding="utf-8")), str(cached))
    found = _examined(files, ordered, on_progress)
    write_atomically(cached, json.dumps(asdict(found)))
    return found


def _examined(files: ImageFiles, ordered: Sequence[str], on_progress: Callable[[int, int], None]) -> Examined:
    import tensorflow as tf

    with tf.device("CPU"):
        paths = tf.constant([files.path(file) for file in ordered])

    def look(number: tf.Tensor) -> tuple[tf.Tensor, ...]:
        contents = tf.io.read_file(paths[number])
        return number, tf.shape(decode_as_is(contents))[2], tf.fingerprint(contents[None])[0]

    numbers = tf.data.Dataset.range(len(ordered))
    looked = numbers.map(look, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True).ignore_errors()
    digest, whole = hashlib.sha256(), set()
    grey = transparent = 0
    for number, channels, fingerprint in looked.as_numpy_iterator():
        file = ordered[number]
        digest.update(f"{file}\n".encode("utf-8", "surrogateescape") + fingerprint.tobytes())
        whole.add(file)
        grey, transparent = grey + (channels < 3), transparent + (channels % 2 == 0)
        on_progress(int(number) + 1, len(ordered))
    broken = [file for file in ordered if file not in whole]
    return Examined(f"sha256:{digest.hexdigest()}", broken, int(grey), int(transparent))
