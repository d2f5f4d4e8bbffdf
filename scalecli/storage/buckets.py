"""Folders in buckets of Google Cloud Storage: listed, read in parts that are checked, and written to."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from scalecli.errors import MissingError, ScalecliError, UsageError, nearest
from scalecli.storage.files import answered, are_plain, hash_stream, locate, one_line_errors

# Hears the bytes that are there, the bytes in all, and the rate of the fetching in bytes per second.
Report = Callable[[int, int, float], None]

PROTOCOL = "gs://"
_CHUNK_BYTES = 8 << 20
# gcsfs tries a request that fails up to six times, waiting 1, 2, 4 ... seconds in between; all of it within these.
_LISTING_SECONDS = 10.0
_CHUNK_SECONDS = 60.0
_SILENCE_SECONDS = 15.0  # after which a connection counts as lost
# After those six times what is to be written waits, and is tried six times again, and so on.
_WRITING_WAITS = (5.0, 15.0, 45.0, 90.0)


@dataclass(frozen=True)
class Object:
    """One object of a bucket: its path there, its size, and the kind and hexadecimal digits of its hash, if known."""

    path: str
    bytes: int
    hash_kind: str = ""
    hash: str = ""

    @classmethod
    def of(cls, path: str, details: dict[str, Any]) -> Object:
        """From the bucket's own description. Objects that were uploaded in parts have no MD5, but a CRC32C."""
        for kind, key in (("md5", "md5Hash"), ("crc32c", "crc32c")):
            if digest := details.get(key):
                return cls(path, int(details["size"]), kind, base64.b64decode(digest).hex())
        return cls(path, int(details["size"]))

    def is_whole(self, file: Path) -> bool:
        """Whether a file has this object's size and hash."""
        if not file.is_file() or file.stat().st_size != self.bytes:
            return False
        return not self.hash or digest(file, self.hash_kind) == self.hash


class Transfer:
    """Counts bytes and reports them; the rate is that of the bytes that were fetched since the start."""

    def __init__(self, total: int, report: Report) -> None:
        self.total, self.report = total, report
        self.done = self.fetched = 0
        self.started = time.monotonic()

    def add(self, count: int, fetched: bool = True) -> None:
        """`count` more bytes are there."""
        self.done += count
        self.fetched += count if fetched else 0
        self.report(self.done, self.total, self.fetched / max(time.monotonic() - self.started, 1e-3))


class _ContentError(MissingError):
    """What came is not the object that was listed: it is damaged, or there is another one by now."""


class BucketFolder:
    """A folder in a bucket, `gs://BUCKET/FOLDER`; nothing is asked of the bucket before the first method.

    `anonymous`: as anybody can read it. Otherwise with the user's default credentials, if there are any.

    Raises:
        UsageError: `address` is no such folder's.
    """

    def __init__(self, address: str, anonymous: bool = False) -> None:
        parts = address.removeprefix(PROTOCOL).rstrip("/").split("/")
        if not address.startswith(PROTOCOL) or len(parts) < 2 or not are_plain(parts):
            raise UsageError(f"{address}: no address of a bucket; {PROTOCOL}BUCKET/FOLDER is accepted")
        self.address, self.path = PROTOCOL + "/".join(parts), "/".join(parts)
        self._anonymous = anonymous

    @cached_property
    def _client(self) -> Any:
        import aiohttp

        patience = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE_SECONDS, sock_read=_SILENCE_SECONDS)
        # Instances are shared by their options, and with them listings that are out of date.
        options = {"requests_timeout": patience, "skip_instance_cache": True, "use_listings_cache": False}
        access = {"token": "anon"} if self._anonymous else {}
        client, _ = answered(self.address, lambda: locate(self.address, **options, **access))
        return client

    def open(self) -> None:
        """Signs in, as every other method does, too. Raises MissingError where there is no network."""
        _ = self._client

    def objects(self) -> dict[str, Object]:
        """All that is in the folder, by names with `/` where they have folders of their own; none in an empty one.

        Where the address is that of an object it is this alone, by its name.

        Raises:
            MissingError: there is no such bucket, or it can't be read.
        """
        with _answered(self.address, _LISTING_SECONDS):
            try:
                objects = self._client.find(self.path, detail=True, timeout=_LISTING_SECONDS)
            except FileNotFoundError as error:
                raise MissingError(f"{self.address}: no such bucket") from error
        folder = self.path.rpartition("/")[0] if set(objects) == {self.path} else self.path
        return {
            path.removeprefix(f"{folder}/"): Object.of(path, details)
            for path, details in objects.items()
            if not path.endswith("/")  # what consoles make for an empty folder
        }

    def describe_missing(self) -> str:
        """Says which part of the path is the first that the bucket hasn't got, with the one there most like it.

        Raises:
            MissingError: the bucket can't be read.
        """
        parent, *parts = self.path.split("/")
        for part in parts:
            with _answered(self.address, _LISTING_SECONDS):
                listed = self._client.ls(parent, detail=False, timeout=_LISTING_SECONDS)
            names = [path.rpartition("/")[2] for path in listed]
            if part not in names:
                return f"{PROTOCOL}{parent} has no {part!r}{nearest(part, names)}"
            parent = f"{parent}/{part}"
        return "holds no files"

    def download(self, source: Object, target: Path, progress: Transfer) -> None:
        """Fetches one object, or what is missing of it, checks it, and gives it its name.

        A file that is whole is left as it is. What came of one that could not be finished stays for the next call. Of
        an object that is replaced meanwhile, the new one is fetched.

        Raises:
            MissingError: it can't be read, or came damaged (it is removed).
            ScalecliError: the file can't be written.
        """
        try:
            self._download(source, target, progress)
        except _ContentError:
            now = BucketFolder(f"{PROTOCOL}{source.path}", self._anonymous).objects().get(target.name, source)
            if (now.bytes, now.hash) == (source.bytes, source.hash):
                raise
            self.download(now, target, progress)

    def _download(self, source: Object, target: Path, progress: Transfer) -> None:
        if source.is_whole(target):
            progress.add(source.bytes, fetched=False)
            return
        address = f"{PROTOCOL}{source.path}"
        # The hash is in the name, so that what was begun is never gone on with from another object.
        part = target.with_name(f".{target.name}.{source.hash or source.bytes}.part")
        with one_line_errors(part, ScalecliError, "cannot be written"):
            part.parent.mkdir(parents=True, exist_ok=True)
            with part.open("ab") as stream:
                position = stream.tell()
                progress.add(min(position, source.bytes), fetched=False)
                while position < source.bytes:
                    end = min(position + _CHUNK_BYTES, source.bytes)
                    with _answered(f"{address} (at byte {position:,}; what came before is kept)", _CHUNK_SECONDS):
                        content = self._client.cat_file(source.path, start=position, end=end, timeout=_CHUNK_SECONDS)
                    if len(content) != end - position:
                        raise _ContentError(
                            f"{address}: {len(content):,} bytes came, and {end - position:,} were asked for"
                        )
                    stream.write(content)
                    position = end
                    progress.add(len(content))
            if not source.is_whole(part):
                difference = "another size"
                if source.hash:
                    difference = f"{digest(part, source.hash_kind)}, in the bucket {source.hash}"
                part.unlink()
                raise _ContentError(
                    f"{address}: came damaged ({source.hash_kind} {difference}) and was removed; fetch it again"
                )
            os.replace(part, target)

    def read(self, name: str) -> bytes:
        """The content of a small object; empty where there is none.

        Raises:
            MissingError: the bucket can't be read.
        """
        with _answered(f"{self.address}/{name}", _LISTING_SECONDS):
            try:
                return self._client.cat_file(f"{self.path}/{name}", timeout=_LISTING_SECONDS)
            except FileNotFoundError:
                return b""

    def upload(self, content: Path | bytes, name: str) -> None:
        """Writes a file, or bytes, to the object of that name, which appears when all of it is there, and is checked.

        Raises:
            ScalecliError: it can't be written, although it was tried again for minutes if that could help.
        """
        path, options = f"{self.path}/{name}", {"consistency": "md5", "chunksize": _CHUNK_BYTES}
        if isinstance(content, bytes):
            self._write(path, lambda: self._client.pipe_file(path, content, **options))
        else:
            self._write(path, lambda: self._client.put_file(str(content), path, **options))

    def create(self, content: bytes, name: str) -> None:
        """Writes a small object, unless there is one of that name already. Of several writers one succeeds.

        Raises:
            ScalecliError: as `upload` does.
        """
        path = f"{self.path}/{name}"

        def work() -> None:
            with contextlib.suppress(FileExistsError):
                self._client.pipe_file(path, content, mode="create")

        self._write(path, work)

    def remove(self, name: str) -> None:
        """Removes an object, if it is there.

        Raises:
            ScalecliError: as `upload` does.
        """
        path = f"{self.path}/{name}"

        def work() -> None:
            with contextlib.suppress(FileNotFoundError):
                self._client.rm_file(path)

        self._write(path, work)

    def _write(self, path: str, work: Callable[[], Any]) -> None:
        with one_line_errors(f"{PROTOCOL}{path}", ScalecliError, "cannot be written"):
            for seconds in (*_WRITING_WAITS, None):
                try:
                    work()
                    return
                except Exception as error:
                    if seconds is None or not _may_pass(error):
                        raise
                time.sleep(seconds)


def _may_pass(error: Exception) -> bool:
    """Whether what a bucket's client raises may be another the next time: a busy server, a lost connection."""
    import gcsfs.retry

    return isinstance(error, asyncio.TimeoutError) or gcsfs.retry.is_retriable(error)


@contextlib.contextmanager
def _answered(source: str, seconds: float) -> Iterator[None]:
    """One line for everything that a bucket's client raises."""
    with one_line_errors(source, what="cannot be fetched"):
        try:
            yield
        except asyncio.TimeoutError as error:
            raise MissingError(f"{source}: no answer for {seconds:g} seconds; is there a network?") from error


def digest(file: Path, kind: str) -> str:
    """The hexadecimal digits of a file's MD5, CRC32C or SHA-256."""
    state: Any
    if kind == "crc32c":
        import google_crc32c

        state = google_crc32c.Checksum()
    else:
        state = hashlib.new(kind, usedforsecurity=False)
    with file.open("rb") as stream:
        hash_stream(state, stream)
    return state.digest().hex()
