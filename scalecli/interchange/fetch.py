"""Checkpoints that are elsewhere: fetched from buckets and from Hugging Face's hub into the cache, and checked."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalecli.errors import MissingError, ScalecliError, UsageError, nearest
from scalecli.files import locate, one_line_errors
from scalecli.interchange.safe_files import is_plain

# Hears the bytes that are there, the bytes in all, and the rate of the fetching in bytes per second.
Report = Callable[[int, int, float], None]

_CHUNK_BYTES = 8 << 20
# gcsfs tries a request that fails up to six times, waiting 1, 2, 4 ... seconds in between; all of it within these.
_LISTING_SECONDS = 15.0
_CHUNK_SECONDS = 60.0
_SILENCE_SECONDS = 15.0  # after which a connection counts as lost
_HASH_BLOCK = 1 << 20


@dataclass(frozen=True)
class _Object:
    """One object of a bucket: its path there, its size, and the kind and hexadecimal digits of its hash, if known."""

    path: str
    bytes: int
    hash_kind: str = ""
    hash: str = ""

    @classmethod
    def of(cls, path: str, details: dict[str, Any]) -> _Object:
        """From the bucket's own description. Objects that were uploaded in parts have no MD5, but a CRC32C."""
        for kind, key in (("md5", "md5Hash"), ("crc32c", "crc32c")):
            if digest := details.get(key):
                return cls(path, int(details["size"]), kind, base64.b64decode(digest).hex())
        return cls(path, int(details["size"]))

    def is_whole(self, file: Path) -> bool:
        """Whether a file has this object's size and hash."""
        if not file.is_file() or file.stat().st_size != self.bytes:
            return False
        return not self.hash or _digest(file, self.hash_kind) == self.hash


class _Progress:
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


def fetch(source: str, cache_directory: Path, wanted: Callable[[list[str]], list[str]], report: Report) -> Path:
    """Fetches files of a folder in a public bucket (`gs://BUCKET/FOLDER`, or one file) and returns where they lie.

    `wanted` gets the names in the folder, with `/` where they have folders of their own, and picks some. Files that are
    in the cache are used when their hashes are the bucket's. What was fetched of a file that could not be finished
    stays, and the next call goes on from there.

    Raises:
        UsageError: `source` is not in a bucket of Google Cloud Storage.
        MissingError: there is no such bucket or folder, it can't be read, or a file came damaged (it is removed).
        ScalecliError: the cache can't be written.
    """
    parts = source.removeprefix("gs://").rstrip("/").split("/")
    if not source.startswith("gs://") or len(parts) < 2 or not _are_plain(parts):
        raise UsageError(f"{source}: no address of a bucket; gs://BUCKET/FOLDER is accepted")
    with _answered(source, _LISTING_SECONDS):
        bucket, path, objects = _list(source)
    folder = cache_directory.joinpath("checkpoints", *path.split("/"))
    chosen = wanted(sorted(objects))
    progress = _Progress(sum(objects[name].bytes for name in chosen), report)
    for name in chosen:
        if not _are_plain(name.split("/")):
            raise MissingError(f"{source}: has an object named {name!r}, which can't be the name of a file here")
        _download(bucket, objects[name], folder / name, progress)
    return folder


def _are_plain(parts: list[str]) -> bool:
    """Whether the parts of a path stay where they are put."""
    return all(map(is_plain, parts))


@contextlib.contextmanager
def _answered(source: str, seconds: float) -> Iterator[None]:
    """One line for everything that a bucket's client raises."""
    with one_line_errors(source, what="cannot be fetched"):
        try:
            yield
        except asyncio.TimeoutError as error:
            raise MissingError(f"{source}: no answer for {seconds:g} seconds; is there a network?") from error


def _list(source: str) -> tuple[Any, str, dict[str, _Object]]:
    """The client of a bucket, the folder's path there, and its objects by their names in the folder."""
    import aiohttp

    patience = aiohttp.ClientTimeout(total=None, sock_connect=_SILENCE_SECONDS, sock_read=_SILENCE_SECONDS)
    # Instances are shared by their options, and with them listings that are out of date.
    options = {"token": "anon", "requests_timeout": patience, "skip_instance_cache": True, "use_listings_cache": False}
    bucket, path = locate(source.rstrip("/"), **options)
    try:
        found = bucket.find(path, detail=True, timeout=_LISTING_SECONDS)
        if not found:
            raise MissingError(f"{source}: {_what_is_missing(bucket, path)}")
    except FileNotFoundError as error:
        raise MissingError(f"{source}: no such bucket") from error
    folder = path.rpartition("/")[0] if set(found) == {path} else path
    return bucket, folder, {
        each.removeprefix(f"{folder}/"): _Object.of(each, details)
        for each, details in found.items()
        if not each.endswith("/")  # what consoles make for an empty folder
    }  # fmt: skip


def _what_is_missing(bucket: Any, path: str) -> str:
    """Says which part of a path is the first that a bucket hasn't got, with the one there that is most like it."""
    parent, *parts = path.split("/")
    for part in parts:
        there = [each.rpartition("/")[2] for each in bucket.ls(parent, detail=False, timeout=_LISTING_SECONDS)]
        if part not in there:
            return f"gs://{parent} has no {part!r}{nearest(part, there)}"
        parent = f"{parent}/{part}"
    return "holds no files"


def _download(bucket: Any, source: _Object, target: Path, progress: _Progress) -> None:
    """Fetches one object, or what is missing of it, checks it, and gives it its name."""
    if source.is_whole(target):
        progress.add(source.bytes, fetched=False)
        return
    address = f"gs://{source.path}"
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
                    content = bucket.cat_file(source.path, start=position, end=end, timeout=_CHUNK_SECONDS)
                if len(content) != end - position:
                    raise MissingError(f"{address}: {len(content):,} bytes came, and {end - position:,} were asked for")
                stream.write(content)
                position = end
                progress.add(len(content))
        if not source.is_whole(part):
            found = f"{_digest(part, source.hash_kind)}, in the bucket {source.hash}" if source.hash else "another size"
            part.unlink()
            raise MissingError(f"{address}: came damaged ({source.hash_kind} {found}) and was removed; fetch it again")
        os.replace(part, target)


def _digest(file: Path, kind: str) -> str:
    """The hexadecimal digits of a file's MD5, CRC32C or SHA-256."""
    digest: Any
    if kind == "crc32c":
        import google_crc32c

        digest = google_crc32c.Checksum()
    else:
        digest = hashlib.new(kind, usedforsecurity=False)
    with file.open("rb") as stream:
        while block := stream.read(_HASH_BLOCK):
            digest.update(block)
    return digest.digest().hex()


def hub_snapshot(name: str, cache_directory: Path, report: Report) -> Path:
    """Fetches a model from Hugging Face's hub (`google/t5-v1_1-small`) and returns the folder with its files.

    Raises:
        MissingError: huggingface_hub is not installed, there is no such model, it can't be read, or came damaged.
    """
    from scalecli.interchange import formats

    try:
        import huggingface_hub as hub
    except ImportError as error:
        raise MissingError(f"hf:{name} needs huggingface_hub; install it by: pip install 'scalecli[hub]'") from error
    if not _are_plain(name.split("/")):
        raise MissingError(f"hf:{name}: no name on the hub; hf:OWNER/MODEL is accepted")
    folder = cache_directory.joinpath("hub", *name.split("/"))
    try:
        model = hub.HfApi().model_info(name, files_metadata=True, timeout=_LISTING_SECONDS)
        files = {file.rfilename: file for file in model.siblings or []}
        chosen = formats.wanted([each for each in sorted(files) if _are_plain(each.split("/"))], None)
        progress = _Progress(sum(files[each].size or 0 for each in chosen), report)
        for each in chosen:
            size, large, before = files[each].size or 0, files[each].lfs, progress.done
            hub.hf_hub_download(name, each, revision=model.sha, local_dir=folder, tqdm_class=_silent_bar(progress))
            progress.add(before + size - progress.done, fetched=False)  # it says nothing of what it needn't fetch
            if large and _digest(folder / each, "sha256") != large.sha256:
                (folder / each).unlink()
                raise MissingError(f"hf:{name}: {each} came damaged and was removed; fetch it again")
    except ScalecliError:
        raise
    except Exception as error:  # the hub's own classes, those of its HTTP client, and of the disk
        reason = next((line for line in str(error).splitlines() if line.strip()), type(error).__name__)
        raise MissingError(f"hf:{name}: cannot be fetched ({reason})") from error
    return folder


def _silent_bar(progress: _Progress) -> Any:
    """A class of progress bars that show nothing, and report."""
    from tqdm import tqdm

    class Silent(tqdm):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> None:
            progress.add(int(n or 0))

    return Silent
