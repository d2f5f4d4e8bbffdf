"""Source files: found by path, URL or glob wherever fsspec reaches, read line by line, known by a hash."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from scalecli.errors import MissingError
from scalecli.storage.files import hash_stream, locate, one_line_errors

# What a file system says about a file's content without sending it, the surest first.
_REMOTE_FINGERPRINTS = ("md5Hash", "crc32c", "ETag", "etag", "mtime", "LastModified")


def find_files(patterns: Sequence[str | Path]) -> list[str]:
    """Returns the locations of the files that paths, URLs and globs name: each pattern's in order of name.

    Raises MissingError for a pattern that no file matches.
    """
    found: list[str] = []
    for pattern in map(str, patterns):
        with one_line_errors(pattern):
            system, path = locate(pattern)
            if system.isfile(path):  # a file may have a bracket in its name
                matches = [path]
            else:
                matches = sorted(match for match in system.glob(path) if system.isfile(match))
            hint = "; it is a folder: name its files, as in FOLDER/*.txt" if not matches and system.isdir(path) else ""
        if not matches:
            raise MissingError(f"{pattern}: no file matches{hint}")
        found += [system.unstrip_protocol(match) for match in matches]
    return found


def read_lines(location: str) -> Iterator[tuple[int, str]]:
    """Yields the number (from 1) and the text of each line of a UTF-8 file, unpacked if its name ends in .gz.

    Line ends are taken off, and so is a byte order mark. Raises MissingError, with file and line, for what can't be
    read or isn't UTF-8.
    """
    name = display_name(location)
    number = 0
    with one_line_errors(name):
        system, path = locate(location)
        try:
            with system.open(path, "rb", compression="gzip" if path.endswith(".gz") else None) as file:
                for number, line in enumerate(file, start=1):
                    text = line.decode("utf-8")
                    yield number, (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")
        except UnicodeDecodeError as error:
            raise MissingError(f"{name}:{number}: not UTF-8 (byte {error.object[error.start]:#04x})") from error
        except (EOFError, zlib.error) as error:
            raise MissingError(f"{name}: cannot be unpacked ({error})") from error


def read_text(location: str) -> str:
    """Returns the whole text of a UTF-8 file, unpacked if its name ends in .gz. Raises as `read_lines` does."""
    return "\n".join(line for _, line in read_lines(location))


def fingerprint(location: str) -> str:
    """Returns a hash of a file's content, or for a remote file of what its store tells about the content.

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


def content_stamp(about: Mapping[str, Any]) -> str | None:
    """Returns what a file system's entry of a file tells about the content, its size first; None for only that."""
    known = [str(about[key]) for key in _REMOTE_FINGERPRINTS if about.get(key)]
    return f"{about.get('size')} {known[0]}" if known else None


def display_name(location: str) -> str:
    """Returns a location as a person would type it: local files without their protocol."""
    return location.removeprefix("file://").removeprefix("local://")
