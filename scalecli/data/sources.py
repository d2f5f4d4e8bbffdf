"""Source files: found by path, URL or glob wherever fsspec reaches, read line by line, known by a hash."""

from __future__ import annotations

import hashlib
import logging
import os
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from scalecli.errors import MissingError

# What a remote file system says about a file's content without sending it, the surest first.
_REMOTE_FINGERPRINTS = ("md5Hash", "crc32c", "ETag", "etag", "mtime", "LastModified")


def locate(location: str) -> tuple[Any, str]:
    """Returns the fsspec file system of a path or URL and the path in it.

    Raises MissingError where the file system is unknown or can't be reached.
    """
    import fsspec

    # The client of gs:// logs the traceback of every retry; what failed in the end is in the error's line.
    logging.getLogger("gcsfs").setLevel(logging.CRITICAL)
    try:
        return fsspec.core.url_to_fs(os.path.expanduser(location))
    except (ValueError, ImportError, OSError) as error:
        raise MissingError(f"{location}: {_one_line(error)}") from error


def find_files(patterns: Sequence[str | Path]) -> list[str]:
    """Returns the locations of the files that paths, URLs and globs name: each pattern's in order of name.

    Raises MissingError for a pattern that no file matches.
    """
    found: list[str] = []
    for pattern in map(str, patterns):
        system, path = locate(pattern)
        try:
            if system.isfile(path):  # a file may have a bracket in its name
                matches = [path]
            else:
                matches = sorted(match for match in system.glob(path) if system.isfile(match))
            hint = "; it is a folder: name its files, as in FOLDER/*.txt" if not matches and system.isdir(path) else ""
        except Exception as error:  # whatever a remote file system's client raises
            raise MissingError(f"{pattern}: {_one_line(error)}") from error
        if not matches:
            raise MissingError(f"{pattern}: no file matches{hint}")
        found += [system.unstrip_protocol(match) for match in matches]
    return found


def read_lines(location: str) -> Iterator[tuple[int, str]]:
    """Yields the number (from 1) and the text of each line of a UTF-8 file, unpacked if its name ends in .gz.

    Line ends are taken off, and so is a byte order mark. Raises MissingError, with file and line, for what can't be
    read or isn't UTF-8.
    """
    system, path = locate(location)
    name = display_name(location)
    number = 0
    try:
        with system.open(path, "rb", compression="gzip" if path.endswith(".gz") else None) as file:
            for number, line in enumerate(file, start=1):
                text = line.decode("utf-8")
                yield number, (text.removeprefix("\ufeff") if number == 1 else text).rstrip("\r\n")
    except UnicodeDecodeError as error:
        raise MissingError(f"{name}:{number}: not UTF-8 (byte {error.object[error.start]:#04x})") from error
    except (OSError, EOFError, zlib.error) as error:
        raise MissingError(f"{name}: {_one_line(error)}") from error


def fingerprint(location: str) -> str:
    """Returns a hash of a file's content, or for a remote file of what its store tells about the content.

    Raises MissingError where the file can't be read.
    """
    system, path = locate(location)
    digest = hashlib.sha256()
    try:
        if "file" not in system.protocol:
            about = system.info(path)
            known = [str(about[key]) for key in _REMOTE_FINGERPRINTS if about.get(key)]
            if known:
                return hashlib.sha256(f"{about.get('size')} {known[0]}".encode()).hexdigest()
        with system.open(path, "rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    except Exception as error:  # whatever a remote file system's client raises
        raise MissingError(f"{location}: {_one_line(error)}") from error
    return digest.hexdigest()


def display_name(location: str) -> str:
    """Returns a location as a person would type it: local files without their protocol."""
    return location.removeprefix("file://").removeprefix("local://")


def _one_line(error: BaseException) -> str:
    """Returns the first line of an error's message, or its type's name."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
