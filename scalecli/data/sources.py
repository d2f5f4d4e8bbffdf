"""Source files: named by paths, URLs and globs wherever fsspec reaches, unpacked, read by lines, known by a hash."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import hashlib
import io
import json
import lzma
import os
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

from scalecli.errors import ConfigurationError, MissingError
from scalecli.storage.files import answered, check_ends, hash_stream, locate, one_line_errors

# What a file system says about a file's content without sending it, the surest first.
_REMOTE_FINGERPRINTS = ("md5Hash", "crc32c", "ETag", "etag", "mtime", "LastModified")
_BUFFER = 1 << 20
_ZSTD_INPUT = 16 << 10
_ZSTD_WINDOW = 1 << 31  # what `zstd --long=31` asks for


# Receives a line on what is being done, and the share of it that is done, where that is known.
OnWork = Callable[[str, float | None], None]


def silent(text: str, share: float | None) -> None:
    """An `OnWork` that does nothing."""


@dataclass
class Remarks:
    """What was left out or replaced while sources were read (how often, and where first), and how much was read."""

    counts: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    rows: int = 0
    closed_bytes: int = 0  # of files that have been read, as they lie on the disk
    open_file: IO[bytes] | None = None

    @property
    def bytes_read(self) -> int:
        """Bytes of files read so far, as they lie on the disk."""
        return self.closed_bytes + (self.open_file.tell() if self.open_file else 0)

    def add(self, what: str, where: str) -> None:
        """Counts one more of them."""
        self.counts[what] += 1
        self.first.setdefault(what, where)

    def lines(self) -> list[str]:
        """The remarks as lines, one for each kind."""
        return [f"{what}: {count:,}, the first at {self.first[what]}" for what, count in self.counts.items()]

    @contextlib.contextmanager
    def reading(self, file: IO[bytes]) -> Iterator[None]:
        """Within it the bytes that are read from a file count."""
        self.open_file = file if file.seekable() else None
        try:
            yield
        finally:
            self.closed_bytes, self.open_file = self.bytes_read, None


class _ZstdFile(io.RawIOBase):
    """Unpacks all frames of a Zstandard file; one that ends within a frame raises EOFError, as the other formats do."""

    def __init__(self, packed: IO[bytes]) -> None:
        import zstandard

        self._packed, self._decompressor = packed, zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        self._error = zstandard.ZstdError
        self._frame: Any = None
        self._unpacked, self._rest = memoryview(b""), b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._unpacked:
            packed = self._rest or self._packed.read(_ZSTD_INPUT)
            if not packed:
                if self._frame is not None:
                    raise EOFError("it ends within a frame")
                return 0
            self._frame = self._frame or self._decompressor.decompressobj()
            try:
                self._unpacked, self._rest = memoryview(self._frame.decompress(packed)), b""
            except self._error as error:
                raise EOFError(str(error)) from error
            if self._frame.eof:
                self._rest, self._frame = self._frame.unused_data, None
        count = min(len(buffer), len(self._unpacked))
        buffer[:count], self._unpacked = self._unpacked[:count], self._unpacked[count:]
        return count


# By suffix: the bytes that such a file begins with, and what unpacks it.
_PACKED: dict[str, tuple[bytes, Callable[[Any], Any]]] = {
    ".gz": (b"\x1f\x8b", lambda file: gzip.GzipFile(fileobj=file)),
    ".bz2": (b"BZh", bz2.BZ2File),
    ".xz": (b"\xfd7zXZ\0", lzma.LZMAFile),
    ".zst": (b"\x28\xb5\x2f\xfd", _ZstdFile),
}
# What is refused: where in the file which bytes stand, also in what is packed.
_REFUSED = (
    (0, b"PK\x03\x04", "a ZIP archive; unpack it, and name the files in it"),
    (257, b"ustar", "a tar archive; unpack it, and name the files in it"),
    (0, b"\xff\xfe", "UTF-16 text; write it as UTF-8"),
    (0, b"\xfe\xff", "UTF-16 text; write it as UTF-8"),
)
_HEAD = 512  # bytes, of which the above are among
_MOST_NULS = 0.01  # of the first bytes of text; zeroed blocks and UTF-16 have more


def find_files(patterns: Sequence[str | Path]) -> list[str]:
    """The locations of the files that paths, URLs and globs name: each pattern's in order of name.

    A folder that Hugging Face's `datasets` saved stands for its files. Raises MissingError for a pattern that no file
    matches, ConfigurationError for a folder of several splits.
    """
    located: list[str] = []
    for pattern in map(str, patterns):
        with one_line_errors(pattern):
            system, path = answered(pattern, partial(locate, pattern))
            if "file" in system.protocol:
                check_ends(path)
            if answered(pattern, partial(system.isfile, path)):  # a file may have a bracket in its name
                matches = [path]
            elif system.isdir(path):
                matches = _saved_files(system, path, pattern)
            else:
                matches = sorted(match for match in system.glob(path) if system.isfile(match))
        if not matches:
            hint = "; folders are divided by / here" if "\\" in pattern else ""
            raise MissingError(f"{pattern}: no file matches{hint}")
        located += [system.unstrip_protocol(match) for match in matches]
    return located


def _saved_files(system: Any, path: str, pattern: str) -> list[str]:
    path = path.rstrip("/")
    if system.isfile(f"{path}/dataset_dict.json"):
        splits = _json_file(system, f"{path}/dataset_dict.json").get("splits", [])
        raise ConfigurationError(f"{pattern}: holds the splits {', '.join(splits)}; name one of its folders")
    if not system.isfile(f"{path}/state.json"):
        raise MissingError(f"{pattern}: no file matches; it is a folder: name its files, as in FOLDER/*.txt")
    state = _json_file(system, f"{path}/state.json")
    names = [str(entry.get("filename")) for entry in state.get("_data_files") or () if isinstance(entry, dict)]
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise ConfigurationError(f"{pattern}: a selection of rows; save it after flatten_indices()")
    for name in names:
        if os.path.basename(name) != name or not system.isfile(f"{path}/{name}"):
            raise MissingError(f"{pattern}: state.json names {name}, and the folder has no such file")
    return [f"{path}/{name}" for name in names]


def _json_file(system: Any, path: str) -> dict[str, Any]:
    try:
        content = json.loads(system.cat_file(path))
    except (ValueError, RecursionError) as error:
        raise MissingError(f"{path}: not JSON ({error})") from error
    if not isinstance(content, dict):
        raise MissingError(f"{path}: not a JSON object")
    return content


def unpacked_name(location: str) -> str:
    """A location without the suffix of a packed file."""
    stem, suffix = os.path.splitext(location)
    return stem if suffix in _PACKED else location


@contextlib.contextmanager
def open_unpacked(location: str, remarks: Remarks | None = None) -> Iterator[IO[bytes]]:
    """Opens a file for reading; gzip, bzip2, xz and Zstandard are known by the bytes that they begin with.

    Raises MissingError for what can't be read or unpacked, and for archives.
    """
    name = display_name(location)
    with one_line_errors(name):
        system, path = locate(location)
        try:
            with system.open(path, "rb") as opened:
                file = io.BufferedReader(opened, _BUFFER)
                head = file.peek(_HEAD)
                unpack = next((unpack for magic, unpack in _PACKED.values() if head.startswith(magic)), None)
                suffix = os.path.splitext(path)[1]
                if unpack is None and suffix in _PACKED and head:
                    raise MissingError(f"{name}: its name ends in {suffix}, and it is not packed like that")
                with remarks.reading(file) if remarks else contextlib.nullcontext():
                    unpacked = io.BufferedReader(unpack(file), _BUFFER) if unpack else file
                    _check_head(unpacked.peek(_HEAD), name)
                    yield unpacked
        except (EOFError, zlib.error, lzma.LZMAError) as error:
            raise MissingError(f"{name}: cannot be unpacked ({error})") from error


def _check_head(head: bytes, name: str) -> None:
    """Raises MissingError for a file that begins as archives and UTF-16 do."""
    for start, magic, what in _REFUSED:
        if head[start:].startswith(magic):
            raise MissingError(f"{name}: {what}")


def check_text(head: bytes, name: str) -> None:
    """Raises MissingError for a file that begins with more than a few NUL bytes, or whose lines end in CR alone."""
    if head.count(0) > _MOST_NULS * len(head):
        raise MissingError(f"{name}: not text: {head.count(0):,} of its first {len(head):,} bytes are NUL")
    if b"\n" not in head and b"\r" in head.rstrip():
        raise MissingError(f"{name}: its lines end in CR alone, as on old Macs; write them with LF")


def read_lines(location: str, remarks: Remarks | None = None, *, keep_ends: bool = False) -> Iterator[tuple[int, str]]:
    """Yields the number (from 1) and the text of each line of a UTF-8 file, which may be packed.

    Line ends are taken off unless they are to be kept, and so is a byte order mark. Raises MissingError, with file and
    line, for what can't be read or isn't UTF-8.
    """
    number = 0
    with open_unpacked(location, remarks) as file:
        try:
            for number, line in enumerate(file, start=1):
                text = line.decode("utf-8")
                text = text.removeprefix("\ufeff") if number == 1 else text
                yield number, text if keep_ends else text.rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise not_utf_8(f"{display_name(location)}:{number}", error) from error


def not_utf_8(where: str, error: UnicodeDecodeError) -> MissingError:
    """The error that says which byte is not UTF-8."""
    return MissingError(f"{where}: not UTF-8 (byte {error.object[error.start]:#04x})")


def fingerprint(location: str) -> str:
    """A hash of a file's content, or for a remote file of what its store tells about the content.

    Raises MissingError where the file can't be read.
    """
    digest = hashlib.sha256()
    with one_line_errors(display_name(location)):
        system, path = locate(location)
        if "file" not in system.protocol and (known := content_stamp(system.info(path))):
            return hashlib.sha256(known.encode()).hexdigest()
        with system.open(path, "rb") as file:
            hash_stream(digest, file)
    return digest.hexdigest()


def size_of(location: str) -> int:
    """The bytes of a file. Raises MissingError where the file can't be read."""
    with one_line_errors(display_name(location)):
        system, path = locate(location)
        return int(system.size(path) or 0)


def content_stamp(about: Mapping[str, Any]) -> str | None:
    """What a file system's entry of a file tells about the content, its size first; None for only that."""
    known = [str(about[key]) for key in _REMOTE_FINGERPRINTS if about.get(key)]
    return f"{about.get('size')} {known[0]}" if known else None


def display_name(location: str) -> str:
    """A location as a person would type it: local files without their protocol."""
    return location.removeprefix("file://").removeprefix("local://")
