"""Files on the hosts of a TPU slice: looked for, compared and written there by operations of TensorFlow.

`hosts` are names such as `/job:worker/replica:0/task:1`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Sequence

import tensorflow as tf

from scalecli.errors import MissingError, reason_of

SHARED = "images and datasets must lie on a path that all hosts have"
_GLOB = re.compile(r"([*?\[\]\\])")
_PART_BYTES = 64 << 20  # a message between hosts may have 2 GiB


def check_readable(hosts: Sequence[str], files: Sequence[str]) -> None:
    """Raises MissingError for the first host that can't read one of the files."""
    for host in hosts:
        for file in files:
            with _on(host, file):
                is_there = _is_there(file)
            if not is_there:
                raise MissingError(f"host {_number(host)} of this slice has no {file}; {SHARED}")


def send(hosts: Sequence[str], files: Sequence[str]) -> None:
    """Writes this process's files under the same paths of all hosts that have others there, or none.

    A host killed while it writes is left with a file that is not the same, which the next call finds.

    Raises:
        MissingError: a file can't be written on a host, or arrives damaged.
    """
    for file in files:
        with tf.device("CPU"):
            expected = _fingerprint(file)
        for host in hosts:
            with _on(host, file):
                is_whole = _fingerprint(file) == expected
                if not is_whole:
                    tf.io.write_file(file, tf.strings.join([tf.identity(part) for part in _parts(file)]))
                    is_whole = _fingerprint(file) == expected
            if not is_whole:
                raise MissingError(f"host {_number(host)} of this slice: {file} arrived damaged; try again")


def _number(host: str) -> str:
    return host.rpartition(":")[2]


@contextlib.contextmanager
def _on(host: str, file: str) -> Iterator[None]:
    """Within it, operations run on a host, and what goes wrong with a file is one line."""
    try:
        with tf.device(f"{host}/device:CPU:0"):
            yield
    except tf.errors.OpError as error:
        raise MissingError(f"host {_number(host)} of this slice: {file}: {reason_of(error)[:200]}") from error


def _is_there(file: str) -> bool:
    return bool(tf.size(tf.io.matching_files(_GLOB.sub(r"\\\1", file))))


def _fingerprint(file: str) -> tuple[int, int] | None:
    """The size and a 63-bit hash of a file; None where there is none."""
    if not _is_there(file):
        return None
    content = tf.io.read_file(file)
    return int(tf.strings.length(content)), int(tf.strings.to_hash_bucket_fast(content, 2**63 - 1))


def _parts(file: str) -> Iterator[tf.Tensor]:
    """The content of this process's file in parts, in its own memory."""
    with tf.io.gfile.GFile(file, "rb") as stream:
        while part := stream.read(_PART_BYTES):
            with tf.device("CPU"):
                constant = tf.constant(part)
            yield constant
