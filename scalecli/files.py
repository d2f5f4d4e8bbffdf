"""Whole files, read with a limit and written so that a reader never meets half of one, here or in a bucket."""

from __future__ import annotations

import contextlib
import os
import uuid

from scalecli.errors import MissingError, ScalecliError


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether `path` names a place that fsspec serves, such as `gs://bucket/run.yaml`."""
    return "://" in os.fspath(path)


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """Returns the content of a local or remote file of at most `limit` bytes.

    Raises:
        MissingError: the file is not there, cannot be read, or is larger than `limit`.
    """
    path = os.fspath(path)
    try:
        if is_remote(path):
            import fsspec

            with fsspec.open(path, "rb") as stream:
                content = stream.read(limit + 1)
        else:
            with open(path, "rb") as stream:
                content = stream.read(limit + 1)
    except FileNotFoundError:
        raise MissingError(f"{path}: no such file") from None
    except OSError as error:
        raise MissingError(f"{path}: cannot be read ({error.strerror or error})") from error
    except Exception as error:
        # Every file system of fsspec raises classes of its own: missing drivers, credentials, quotas.
        if not is_remote(path):
            raise
        raise MissingError(f"{path}: cannot be read ({error})") from error
    if len(content) > limit:
        raise MissingError(f"{path}: larger than the {limit:,} bytes that are accepted here")
    return content


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes a whole file (text as UTF-8): afterwards `path` holds either all of `content` or what it held before.

    Missing parent directories are made. A local file is written beside its target, flushed to the disk and renamed; an
    object in a bucket appears only when its upload is complete. Devices and pipes are written to, never replaced.

    Raises:
        ScalecliError: the disk is full or the place is not writable; nothing of ours is left behind.
    """
    path = os.fspath(path)
    data = content.encode("utf-8") if isinstance(content, str) else content
    try:
        if is_remote(path):
            import fsspec

            file_system, name = fsspec.core.url_to_fs(path)
            file_system.pipe_file(name, data)
        else:
            _write_local(os.path.realpath(path), data)
    except OSError as error:
        raise ScalecliError(f"{path}: cannot be written ({error.strerror or error})") from error
    except Exception as error:
        if not is_remote(path):
            raise
        raise ScalecliError(f"{path}: cannot be written ({error})") from error


def _write_local(path: str, data: bytes) -> None:
    if os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path):
        with open(path, "wb") as stream:
            stream.write(data)
        return
    directory, name = os.path.split(path)
    os.makedirs(directory, exist_ok=True)
    # Not tempfile.mkstemp: its files are readable by their owner alone, and the rename would keep that.
    temporary = os.path.join(directory, f".{name}.{uuid.uuid4().hex}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
