"""Where a run is stored: in a local directory, or in a folder of a bucket with a local copy to work on."""

from __future__ import annotations

import contextlib
import fcntl
import os
import posixpath
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from scalecli.errors import MissingError, ScalecliError
from scalecli.storage.buckets import PROTOCOL, BucketFolder, Object, Report, Transfer
from scalecli.storage.files import are_plain, is_remote, one_line_errors
from scalecli.storage.holding import BucketRecord, FileRecord, Hold, Record
from scalecli.storage.layout import CHECKPOINTS, DESCRIPTION, TENSORBOARD

_WORKED_ON, _READ = "runs", "runs-read"  # folders of the cache for copies
_CHECKPOINT_FILE = re.compile(rf"{CHECKPOINTS}/([0-9]{{8,}})/([^/]+)")


class RunStorage:
    """A local directory, which is both where a run is worked on and where it is stored.

    Attributes:
        directory: where the run is worked on.
        address: what users call it.
        report: called while files are fetched.
        hold: this process's hold on the run, if it has one.
    """

    def __init__(self, directory: Path) -> None:
        self.directory, self.address = directory, str(directory)
        self.report: Report = lambda done, total, bytes_per_s: None
        self.hold: Hold | None = None

    def check_hold(self) -> None:
        """Raises HeldError where another process has taken the run over."""
        if self.hold is not None:
            self.hold.check(self.address)

    @property
    def name(self) -> str:
        """The last part of the address."""
        return self.address.rpartition("/")[2]

    def at(self, path: str) -> RunStorage:
        """The storage at a path relative to this one, such as `eval/sst2` or `../other`."""
        return RunStorage(Path(os.path.normpath(self.directory / path)))

    def relative_to(self, other: RunStorage) -> str:
        """The path from another storage to this one, or the address where there is no such path."""
        return self.address if is_remote(other.address) else os.path.relpath(self.directory, other.directory)

    def reading_copy(self) -> RunStorage:
        """The same run, with a directory that no training run works in."""
        return self

    def holder_record(self) -> Record:
        """The record of the process that works on the run."""
        return FileRecord(self.directory)

    def connect(self) -> None:
        """Checks that the storage answers. Raises MissingError where it does not."""

    def refresh(self) -> None:
        """Makes the directory hold what is stored. Of checkpoints only the descriptions come; see `fetch`.

        Raises:
            MissingError: the storage can't be read.
            ScalecliError: the directory can't be written.
        """

    def fetch(self, *files: Path) -> None:
        """Fetches some of the directory's files; those that are not stored are not there afterwards.

        Raises:
            ScalecliError: they can't be read, or can't be written here.
        """

    def store_checkpoint(self, step: int) -> None:
        """Stores the directory's checkpoint of a step; it counts once all of it is stored.

        Raises:
            ScalecliError: it can't be written.
        """

    def store_records(self) -> None:
        """Stores the directory's other files as they are now. Raises as `store_checkpoint` does."""

    def remove_checkpoints(self, steps: Collection[int]) -> None:
        """Removes the checkpoints of some steps from the storage. Raises as `store_checkpoint` does."""


class BucketStorage(RunStorage):
    """A folder of a bucket, with the directory as a copy. When work begins, the bucket is the truth.

    A checkpoint's description is written last and removed first, so a checkpoint that has one is whole, whenever the
    writing process is killed.

    Raises:
        UsageError: `address` is no such folder's.
    """

    def __init__(self, address: str, cache_directory: Path, copies: str = _WORKED_ON) -> None:
        self._folder, self._cache = BucketFolder(address), cache_directory
        super().__init__(cache_directory.joinpath(copies, *self._folder.path.split("/")))
        self.address = self._folder.address
        self._objects: dict[str, Object] = {}
        self._stored: dict[str, tuple[int, int]] = {}  # by name: size and time of change of what is stored

    def at(self, path: str) -> RunStorage:
        """The storage at a relative path, in the same bucket."""
        return BucketStorage(PROTOCOL + posixpath.normpath(f"{self._folder.path}/{path}"), self._cache)

    def relative_to(self, other: RunStorage) -> str:
        """The path from another storage in the same bucket, else the address."""
        own, its = self.address.removeprefix(PROTOCOL), other.address.removeprefix(PROTOCOL)
        if not is_remote(other.address) or own.split("/")[0] != its.split("/")[0]:
            return self.address
        return posixpath.relpath(own, its)

    def reading_copy(self) -> RunStorage:
        """The same folder with another copy."""
        return BucketStorage(self.address, self._cache, _READ)

    def holder_record(self) -> Record:
        """The record in the bucket."""
        return BucketRecord(self._folder)

    def connect(self) -> None:
        """Signs in to the bucket."""
        self._folder.open()

    def refresh(self) -> None:
        """Makes the copy equal the bucket: the run's own files, and the descriptions of whole checkpoints."""
        with self._locked():
            self._objects = self._folder.objects()
            fetched = {name for name in self._objects if _is_record(name) or _is_description(name)}
            for name in sorted(fetched):
                self._download(name)
            self._stored = {}
            for file in self._records():
                name = self._name(file)
                if name in self._objects and self._objects[name].is_whole(file):
                    self._stored[name] = _state(file)
                else:
                    file.unlink()
            for checkpoint in (self.directory / CHECKPOINTS).glob("*"):
                if self._name(checkpoint / DESCRIPTION) not in fetched:
                    shutil.rmtree(checkpoint)

    def fetch(self, *files: Path) -> None:
        """Fetches files whose hashes differ from the bucket's, and removes those that the bucket lacks."""
        with self._locked():
            try:
                for file in files:
                    if self._name(file) in self._objects:
                        self._download(self._name(file))
                    else:
                        file.unlink(missing_ok=True)
            except MissingError as error:
                # A checkpoint that can't be reached is not a damaged one, before which a run would go on.
                raise ScalecliError(str(error)) from error

    def store_checkpoint(self, step: int) -> None:
        """Uploads a checkpoint, with the records that belong to it."""
        folder = self.directory / CHECKPOINTS / f"{step:08d}"
        description = folder / DESCRIPTION
        self._folder.remove(self._name(description))  # of an earlier life of this run
        for file in sorted(folder.iterdir()):
            if file != description:
                self._folder.upload(file, self._name(file))
        self.store_records()
        self._folder.upload(description, self._name(description))

    def store_records(self) -> None:
        """Uploads the records that have changed, as they are at this moment: some are being written to."""
        for file in self._records():
            name, state = self._name(file), _state(file)
            if self._stored.get(name) != state:
                with one_line_errors(file):
                    content = file.read_bytes()
                self._folder.upload(content, name)
                self._stored[name] = state

    def remove_checkpoints(self, steps: Collection[int]) -> None:
        """Removes checkpoints from the bucket, and what uploads that were never finished have left."""
        files = {name: int(match[1]) for name in self._folder.objects() if (match := _CHECKPOINT_FILE.fullmatch(name))}
        whole = {step for name, step in files.items() if _is_description(name)}
        for name in sorted(files, key=lambda name: not _is_description(name)):
            if files[name] in steps or files[name] not in whole:
                self._folder.remove(name)

    def _records(self) -> list[Path]:
        """The visible files in the copy's own folder, and TensorBoard's."""
        files = [*sorted(self.directory.glob("*")), *(self.directory / TENSORBOARD).rglob("*")]
        return [file for file in files if file.is_file() and not file.name.startswith(".")]

    def _name(self, file: Path) -> str:
        """What a file of the copy is called in the bucket's folder."""
        return file.relative_to(self.directory).as_posix()

    def _download(self, name: str) -> None:
        source = self._objects[name]
        self._folder.download(source, self.directory / name, Transfer(source.bytes, self.report))

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Keeps other processes from fetching the same files: a run's workers may share a machine."""
        with one_line_errors(self.directory, ScalecliError, "cannot be written"):
            self.directory.mkdir(parents=True, exist_ok=True)
            with (self.directory / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield


def open_storage(address: str | os.PathLike[str], cache_directory: Path) -> RunStorage:
    """The storage at a local path or at an address in a bucket; a bucket's copy is in the cache.

    Raises:
        UsageError: an address that is not a bucket's.
    """
    return BucketStorage(os.fspath(address), cache_directory) if is_remote(address) else RunStorage(Path(address))


def _is_record(name: str) -> bool:
    return are_plain([name]) and not name.startswith(".")


def _is_description(name: str) -> bool:
    match = _CHECKPOINT_FILE.fullmatch(name)
    return bool(match) and match[2] == DESCRIPTION  # type: ignore[index]


def _state(file: Path) -> tuple[int, int]:
    status = file.stat()
    return status.st_size, status.st_mtime_ns
