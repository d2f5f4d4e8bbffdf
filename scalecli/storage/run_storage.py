"""Where a run is kept: in a directory here, or in a folder of a bucket of which a copy here is worked on."""

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
from scalecli.storage.buckets import PROTOCOL, BucketFolder, Object, Progress, Report
from scalecli.storage.files import are_plain, is_remote, one_line_errors
from scalecli.storage.holding import BucketRecord, FileRecord, Hold, Record
from scalecli.storage.layout import CHECKPOINTS, DESCRIPTION, TENSORBOARD

_WORKED_ON, _READ = "runs", "runs-read"  # folders of the cache for copies
_CHECKPOINT_FILE = re.compile(rf"{CHECKPOINTS}/([0-9]{{8,}})/([^/]+)")


class Place:
    """A directory here, which is both where the run is worked on and where it is kept.

    `directory` is where it is worked on, `address` what users call it, and `report` hears of files that are fetched.
    `hold` is this process's, where it is at work on the run.
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

    def at(self, path: str) -> Place:
        """The place at a path as seen from this one, such as `eval/sst2` or `../other`."""
        return Place(Path(os.path.normpath(self.directory / path)))

    def seen_from(self, other: Place) -> str:
        """The path that leads from another place to this one, or the address where none does."""
        return self.address if is_remote(other.address) else os.path.relpath(self.directory, other.directory)

    def to_read(self) -> Place:
        """The same place, with a directory that nobody works on at the same time."""
        return self

    def holder_record(self) -> Record:
        """Where it says which process is at work on the run."""
        return FileRecord(self.directory)

    def reach(self) -> None:
        """Looks whether what is kept can be reached at all. Raises MissingError where nothing answers."""

    def bring(self) -> None:
        """Makes the directory hold what is kept. Of checkpoints only their descriptions come; see `fetch`.

        Raises:
            MissingError: what is kept can't be read.
            ScalecliError: the directory can't be written.
        """

    def fetch(self, *files: Path) -> None:
        """Brings some of the directory's files; those that are not kept are not there then.

        Raises:
            ScalecliError: they can't be read, or not be written here.
        """

    def store_checkpoint(self, step: int) -> None:
        """Keeps the checkpoint of a step as it is in the directory; until it is kept as a whole it counts as none.

        Raises:
            ScalecliError: it can't be written.
        """

    def store_records(self) -> None:
        """Keeps what else is in the directory, and for TensorBoard, as it is now. Raises as `store_checkpoint` does."""

    def remove_checkpoints(self, steps: Collection[int]) -> None:
        """Ceases to keep the checkpoints of some steps. Raises as `store_checkpoint` does."""


class BucketPlace(Place):
    """A folder of a bucket, of which the directory is a copy. What the bucket has is the truth whenever work begins.

    A checkpoint's description is written last and removed first. So a checkpoint that has one is whole, at whatever
    byte the process that writes is killed.

    Raises:
        UsageError: `address` is no such folder's.
    """

    def __init__(self, address: str, cache_directory: Path, copies: str = _WORKED_ON) -> None:
        self._folder, self._cache = BucketFolder(address), cache_directory
        super().__init__(cache_directory.joinpath(copies, *self._folder.path.split("/")))
        self.address = self._folder.address
        self._kept: dict[str, Object] = {}
        self._stored: dict[str, tuple[int, int]] = {}  # size and time of change of the records that are kept

    def at(self, path: str) -> Place:
        """The place at a path as seen from this one, in the same bucket."""
        return BucketPlace(PROTOCOL + posixpath.normpath(f"{self._folder.path}/{path}"), self._cache)

    def seen_from(self, other: Place) -> str:
        """The path that leads from another place in the same bucket to this one, else the address."""
        own, its = self.address.removeprefix(PROTOCOL), other.address.removeprefix(PROTOCOL)
        if not is_remote(other.address) or own.split("/")[0] != its.split("/")[0]:
            return self.address
        return posixpath.relpath(own, its)

    def to_read(self) -> Place:
        """The same place with another copy."""
        return BucketPlace(self.address, self._cache, _READ)

    def holder_record(self) -> Record:
        """Where it says which process, of whatever machine, is at work on the run."""
        return BucketRecord(self._folder)

    def reach(self) -> None:
        """Opens the bucket."""
        self._folder.open()

    def bring(self) -> None:
        """Makes the copy what the bucket has: the run's own files, and the descriptions of whole checkpoints."""
        with self._alone():
            self._kept = self._folder.objects()
            brought = {name for name in self._kept if _is_record(name) or _is_description(name)}
            for name in sorted(brought):
                self._download(name)
            self._stored = {}
            for file in self._records():
                name = self._name(file)
                if name in self._kept and self._kept[name].is_whole(file):
                    self._stored[name] = _state(file)
                else:
                    file.unlink()
            for checkpoint in (self.directory / CHECKPOINTS).glob("*"):
                if self._name(checkpoint / DESCRIPTION) not in brought:
                    shutil.rmtree(checkpoint)

    def fetch(self, *files: Path) -> None:
        """Brings files whose hashes here are not the bucket's, and forgets those that the bucket lacks."""
        with self._alone():
            try:
                for file in files:
                    if self._name(file) in self._kept:
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
        """The files in the copy's own folder, and those for TensorBoard; hidden ones belong to nobody."""
        found = [*sorted(self.directory.glob("*")), *(self.directory / TENSORBOARD).rglob("*")]
        return [file for file in found if file.is_file() and not file.name.startswith(".")]

    def _name(self, file: Path) -> str:
        """What a file of the copy is called in the bucket's folder."""
        return file.relative_to(self.directory).as_posix()

    def _download(self, name: str) -> None:
        source = self._kept[name]
        self._folder.download(source, self.directory / name, Progress(source.bytes, self.report))

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Within it no other process brings the same: the workers of a run may be on one machine."""
        with one_line_errors(self.directory, ScalecliError, "cannot be written"):
            self.directory.mkdir(parents=True, exist_ok=True)
            with (self.directory / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                yield


def place_at(address: str | os.PathLike[str], cache_directory: Path) -> Place:
    """The place of a path, or of an address in a bucket, whose copy is then in the cache.

    Raises:
        UsageError: it is an address, but not in a bucket.
    """
    return BucketPlace(os.fspath(address), cache_directory) if is_remote(address) else Place(Path(address))


def _is_record(name: str) -> bool:
    """Whether a name in a bucket's folder is that of one of the run's own files."""
    return are_plain([name]) and not name.startswith(".")


def _is_description(name: str) -> bool:
    """Whether it is that of a checkpoint's description."""
    match = _CHECKPOINT_FILE.fullmatch(name)
    return bool(match) and match[2] == DESCRIPTION  # type: ignore[index]


def _state(file: Path) -> tuple[int, int]:
    found = file.stat()
    return found.st_size, found.st_mtime_ns
