"""Whole files, read with a limit and written so that a reader never meets half of one, here or in a bucket."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeGuard, TypeVar

from scalecli.errors import MissingError, ScalecliError, reason_of

# The clients of buckets log the traceback of every retry; what failed in the end is in the error's line.
_NOISY_LOGGERS = ("gcsfs", "fsspec", "google.auth", "asyncio")
_HASH_BLOCK = 1 << 20
NETWORK_SECONDS = 7.0  # with the imports before it less than 15

T = TypeVar("T")
Say = Callable[[str], None]


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether `path` names a place that fsspec serves, such as `gs://bucket/run.yaml`."""
    return "://" in os.fspath(path)


def locate(path: str | os.PathLike[str], **options: Any) -> tuple[Any, str]:
    """Returns the fsspec file system of a path or URL and the path in it; a `~` of a local path is expanded.

    `options` are the file system's own. Call it, and the file system, inside `one_line_errors`.
    """
    import logging

    import fsspec

    for name in _NOISY_LOGGERS:
        logging.getLogger(name).setLevel(logging.CRITICAL)
    text = os.fspath(path)
    return fsspec.core.url_to_fs(text if is_remote(text) else os.path.expanduser(text), **options)


@contextlib.contextmanager
def one_line_errors(
    path: str | os.PathLike[str], kind: type[ScalecliError] = MissingError, what: str = "cannot be read"
) -> Iterator[None]:
    """Turns what a local or remote file system raises about `path` into one line that names it.

    Raises:
        ScalecliError: of the class `kind`, saying `what`. Errors of ours pass as they are, and so do those of a local
            path that are not its file system's.
    """
    try:
        yield
    except ScalecliError:
        raise
    except FileNotFoundError as error:
        raise kind(f"{path}: no such file" if kind is MissingError else f"{path}: {what} (no such file)") from error
    except Exception as error:
        # Every file system of fsspec raises classes of its own: missing drivers, credentials, quotas.
        if not isinstance(error, OSError) and not is_remote(path):
            raise
        raise kind(f"{path}: {what} ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    """What the system says, else the line of the error's message that says it."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return reason_of(error)


def check_ends(path: str | os.PathLike[str]) -> None:
    """Checks that a local path is no pipe, socket or device, nor a file of the kernel: reading these may never end.

    What a shell hands over, /dev/stdin and /dev/fd/N, does end.

    Raises:
        MissingError: it is one.
    """
    text = os.fspath(path)
    if text.startswith(("/dev/stdin", "/dev/fd/", "/proc/self/fd/")):
        return
    try:
        mode = os.stat(text).st_mode
    except (OSError, ValueError):
        return  # which whoever opens it will say
    kinds = {stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket", stat.S_IFCHR: "a device", stat.S_IFBLK: "a device"}
    kind = kinds.get(stat.S_IFMT(mode))
    if kind is None and os.path.realpath(text).startswith(("/proc/", "/sys/")) and stat.S_ISREG(mode):
        kind = "a file of the kernel"
    if kind is not None:
        raise MissingError(f"{text}: {kind}; a file is accepted")


def answered(path: str, work: Callable[[], T]) -> T:
    """What a first question about a local or remote path gives, asked for no longer than `NETWORK_SECONDS`.

    The clients of buckets go on asking for a minute where there is no network.

    Raises:
        MissingError: there was no answer. What `work` raises passes as it is.
    """
    if not is_remote(path) or path.startswith(("file://", "local://", "memory://")):
        return work()
    from concurrent.futures import Future
    from concurrent.futures import TimeoutError as FutureTimeoutError

    answer: Future[T] = Future()

    def ask() -> None:
        try:
            answer.set_result(work())
        except BaseException as error:
            answer.set_exception(error)

    # A thread of its own, which the process need not wait for at its end.
    threading.Thread(target=ask, name="network", daemon=True).start()
    try:
        return answer.result(NETWORK_SECONDS)
    except FutureTimeoutError:
        if answer.done():
            raise
    raise MissingError(f"{path}: no answer for {NETWORK_SECONDS:g} seconds; is there a network?")


def read_bytes(path: str | os.PathLike[str], limit: int) -> bytes:
    """Returns the content of a local or remote file of at most `limit` bytes.

    Raises:
        MissingError: the file is not there, cannot be read, or is larger than `limit`.
    """
    path = os.fspath(path)
    with one_line_errors(path):
        if is_remote(path):
            file_system, name = answered(path, lambda: locate(path))
            answered(path, lambda: file_system.info(name))
            with file_system.open(name, "rb") as stream:
                content = stream.read(limit + 1)
        else:
            check_ends(path)
            with open(path, "rb") as stream:
                content = stream.read(limit + 1)
    if len(content) > limit:
        raise MissingError(f"{path}: larger than the {limit:,} bytes that are accepted here")
    return content


def hash_stream(digest: Any, stream: IO[bytes]) -> int:
    """Adds all that is left in a stream to a hash of hashlib's kind, block by block; returns the bytes."""
    size = 0
    while block := stream.read(_HASH_BLOCK):
        digest.update(block)
        size += len(block)
    return size


def sha256_of(file: str | os.PathLike[str]) -> str:
    """The SHA-256 of a local file, in hexadecimal digits.

    Raises:
        OSError: it cannot be read.
        MissingError: it is a pipe, socket or device.
    """
    import hashlib

    check_ends(file)
    digest = hashlib.sha256()
    with open(file, "rb") as stream:
        hash_stream(digest, stream)
    return digest.hexdigest()


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Writes a whole file (text as UTF-8): afterwards `path` holds either all of `content` or what it held before.

    Missing parent directories are made. A local file is written beside its target, flushed to the disk and renamed; an
    object in a bucket appears only when its upload is complete. Devices and pipes are written to, never replaced.

    Raises:
        ScalecliError: the disk is full or the place is not writable; nothing of ours is left behind.
    """
    path = os.fspath(path)
    try:
        data = content.encode("utf-8") if isinstance(content, str) else content
    except UnicodeEncodeError as error:
        name = error.object[error.start : error.end]
        raise ScalecliError(f"{path}: cannot be written ({name!a} in a name in it is not UTF-8)") from error
    with one_line_errors(path, ScalecliError, "cannot be written"):
        if is_remote(path):
            file_system, name = locate(path)
            file_system.pipe_file(name, data)
        else:
            _write_local(os.path.realpath(path), data)


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


@contextlib.contextmanager
def cleaned_up(clean: Callable[[], None]) -> Iterator[None]:
    """Calls `clean` when its block ends, by whatever: an error, Ctrl-C, or SIGTERM, which then does what it did."""

    def terminate(number: int, frame: Any) -> None:
        clean()
        signal.signal(number, before)
        os.kill(os.getpid(), number)

    is_main = threading.current_thread() is threading.main_thread()  # the only one that may
    before: Any = signal.signal(signal.SIGTERM, terminate) if is_main else None
    try:
        yield
    finally:
        if is_main:
            signal.signal(signal.SIGTERM, before)
        clean()


def give_usual_mode(file: Path) -> None:
    """Gives a file that a library has made for its owner alone the permissions of any new file beside it.

    Raises:
        OSError: the folder can't be written.
    """
    probe = file.with_name(f".{file.name}.{uuid.uuid4().hex}.tmp")
    probe.touch()  # the process's umask can't be read without changing it, in all threads
    try:
        file.chmod(stat.S_IMODE(probe.stat().st_mode))
    finally:
        probe.unlink()


def is_plain(name: object) -> TypeGuard[str]:
    """Whether a name is that of a file or folder, and leads nowhere else."""
    return isinstance(name, str) and name == Path(name).name and name not in ("", "..") and not {*"\\\0"} & {*name}


def are_plain(parts: list[str]) -> bool:
    """Whether the parts of a path stay where they are put."""
    return all(map(is_plain, parts))
