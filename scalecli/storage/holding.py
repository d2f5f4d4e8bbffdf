"""A run is held by one process at a time: its record beside the run's files, here or in a bucket.

The holder changes its record every few seconds. A holder on this machine counts as dead when its process has ended;
one on another machine, when its record has not changed for a minute, for which whoever comes watches it. No clocks are
compared, and nothing is asked of a file system but that it shows what others have written.
"""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from scalecli.errors import HeldError, ScalecliError
from scalecli.storage.buckets import BucketFolder
from scalecli.storage.files import Say, one_line_errors

RECORD = ".holder"  # a hidden file: no part of the run
BEAT_SECONDS = 10.0
LEASE_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_SETTLE_SECONDS = 0.5  # between writing to a bucket and reading who was last
_RECORD_BYTES = 4096


@dataclasses.dataclass(frozen=True)
class Holder:
    """Who holds a run: a process, and the machine whose processes its number and time of start are counted on."""

    token: str
    host: str
    machine: str
    pid: int
    started: str
    beat: int = 0

    @classmethod
    def here(cls) -> Holder:
        """The process that asks, under a new token."""
        pid = os.getpid()
        return cls(uuid.uuid4().hex, platform.node(), _machine(), pid, _started(pid) or "")

    @classmethod
    def read(cls, record: bytes) -> Holder | None:
        """The holder that a record names; None for one that was left empty or is damaged."""
        try:
            holder = cls(**json.loads(record))
        except (ValueError, TypeError, RecursionError):
            return None
        named = {field.name: getattr(holder, field.name) for field in dataclasses.fields(cls)}
        numbers = all(type(named.pop(name)) is int for name in ("pid", "beat"))
        return holder if numbers and all(type(text) is str for text in named.values()) else None

    @property
    def record(self) -> bytes:
        """What is written of it."""
        return json.dumps(dataclasses.asdict(self)).encode()

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Record(Protocol):
    """The bytes that say who holds a run; empty where nobody does."""

    def read(self) -> bytes:
        """The record as it is now. Raises ScalecliError where it can't be read."""

    def replace(self, before: bytes, after: bytes) -> bool:
        """Writes `after`, or removes the record where that is empty, if it is still `before`; returns whether it was.

        Raises:
            ScalecliError: it can't be written.
        """


class FileRecord:
    """The record in a run's directory, changed under a lock that the system takes from a process that dies."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / RECORD

    def read(self) -> bytes:
        """The file's content."""
        with one_line_errors(self._path, ScalecliError, "cannot be read"):
            try:
                with _locked(self._path, os.O_RDONLY, fcntl.LOCK_SH) as descriptor:
                    return os.pread(descriptor, _RECORD_BYTES, 0)
            except FileNotFoundError:
                return b""

    def replace(self, before: bytes, after: bytes) -> bool:
        """Within the lock nobody else writes, and nobody reads half a record."""
        flags = os.O_RDWR | (0 if before else os.O_CREAT)
        with one_line_errors(self._path, ScalecliError, "cannot be written"):
            if before and not self._path.exists():
                return False
            with _locked(self._path, flags, fcntl.LOCK_EX) as descriptor:
                if os.pread(descriptor, _RECORD_BYTES, 0) != before:
                    return False
                if after:
                    os.ftruncate(descriptor, 0)
                    os.pwrite(descriptor, after, 0)
                    os.fsync(descriptor)  # so that other machines see it
                else:
                    os.unlink(self._path)
                return True


class BucketRecord:
    """The record in a run's folder of a bucket. The first to write it is the holder; of a dead one's, the last."""

    def __init__(self, folder: BucketFolder) -> None:
        self._folder = folder

    def read(self) -> bytes:
        """The object's content."""
        return self._folder.read(RECORD)

    def replace(self, before: bytes, after: bytes) -> bool:
        """Reads afterwards who has it, since another process may have written at the same time."""
        if self.read() != before:
            return False
        if not after:
            self._folder.remove(RECORD)
            return True
        if before:
            self._folder.upload(after, RECORD)
            time.sleep(_SETTLE_SECONDS)
        else:
            self._folder.create(after, RECORD)
        return self.read() == after


class Hold:
    """A run that this process holds; see `holding`."""

    def __init__(self, record: Record, holder: Holder) -> None:
        self._record, self._holder = record, holder
        self._lost: Holder | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="holding", daemon=True)
        self._thread.start()

    def check(self, address: str) -> None:
        """Raises HeldError where another process has taken the run, which believed this one dead."""
        if self._lost is not None:
            raise HeldError(f"{address}: taken over by {self._lost}, to which this process looked dead")

    def release(self) -> None:
        """Lets others have the run; a record that can't be removed counts for nothing once this process has ended."""
        self._ended.set()
        self._thread.join(BEAT_SECONDS)
        with contextlib.suppress(ScalecliError):
            self._record.replace(self._holder.record, b"")

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            after = dataclasses.replace(self._holder, beat=self._holder.beat + 1)
            with contextlib.suppress(ScalecliError):  # a network that is gone for a while takes no run
                if self._record.replace(self._holder.record, after.record):
                    self._holder = after
                    continue
                content = self._record.read()
                holder = Holder.read(content)
                if holder is None:  # somebody has removed it
                    self._record.replace(content, self._holder.record)
                elif holder.token == self._holder.token:  # written, though the answer was lost
                    self._holder = holder
                else:
                    self._lost = holder
                    return


@contextlib.contextmanager
def holding(record: Record, address: str, say: Say) -> Iterator[Hold]:
    """Holds a run while the block lasts. `say` hears that a holder on another machine is watched for signs of life.

    Raises:
        HeldError: another process holds it, and says which.
        ScalecliError: the record can't be read or written.
    """
    own = Holder.here()
    while True:
        content = record.read()
        if holder := living_holder(record, say):
            raise HeldError(f"{address}: {holder} is at work on it; wait for it, or choose another directory")
        if record.replace(content, own.record):
            break
    hold = Hold(record, own)
    try:
        yield hold
    finally:
        hold.release()


def living_holder(record: Record, say: Say = lambda message: None) -> Holder | None:
    """Who holds a run and is alive. Takes up to a minute where that is a process of another machine.

    Raises:
        ScalecliError: the record can't be read.
    """
    holder = Holder.read(record.read())
    if holder is None or holder.machine == _machine():
        return holder if holder and _started(holder.pid) == holder.started else None
    say(f"held by {holder}; looking for up to {LEASE_SECONDS:.0f} s whether it is still alive")
    end = time.monotonic() + LEASE_SECONDS
    while time.monotonic() < end:
        time.sleep(_LOOK_SECONDS)
        present = Holder.read(record.read())
        if present != holder:
            return present
    return None


@contextlib.contextmanager
def _locked(path: Path, flags: int, kind: int) -> Iterator[int]:
    """Opens a file that others may remove, and locks it where the file system has locks."""
    while True:
        descriptor = os.open(path, flags | os.O_NONBLOCK, 0o666)  # which would wait at a pipe
        try:
            with contextlib.suppress(OSError):
                fcntl.flock(descriptor, kind)
            try:
                is_same = os.path.samestat(os.fstat(descriptor), os.stat(path))
            except FileNotFoundError:
                is_same = False
            if is_same:
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _machine() -> str:
    """What the numbers of processes are counted on: a machine since it was started, or a container on it."""
    parts = [platform.node()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return "/".join(parts)


def _started(pid: int) -> str | None:
    """When a process of this machine was started, in the system's own count, or None where it has ended."""
    try:
        # The name, in parentheses, may hold anything.
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        if Path("/proc/self/stat").exists():
            return None
    except OSError:
        return None
    else:
        return None if fields[0] in "ZX" else fields[19]
    try:
        os.kill(pid, 0)  # systems without /proc
    except ProcessLookupError:
        return None
    except OSError:
        pass
    return ""
