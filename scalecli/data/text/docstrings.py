"""The embedded text: English from the docstrings of the Python installation that runs this.

Source files are parsed, never run, so this needs no network and is safe with any package. The bounds on files and text
per package keep the harvest short and keep one large package from drowning the rest.
"""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import platform
import re
import site
import sysconfig
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from scalecli.errors import MissingError
from scalecli.storage.cache import Say, cached_text

_LEAST_CHARACTERS = 200
_MOST_CHARACTERS_PER_PACKAGE = 150_000
_MOST_FILES_PER_PACKAGE = 300
_MOST_BYTES_PER_FILE = 400_000

# Tests speak about tests; site-packages lies inside the standard library's folder and is walked on its own.
_FOLDERS_LEFT_OUT = {"site-packages", "dist-packages", "__pycache__", "test", "tests", "testing", "lib2to3", "idlelib"}
# Most files have no long docstring, and this sees it twenty times faster than the parser.
_LONG_STRING = re.compile(rb'"""[^"]{150}|\'\'\'[^\']{150}')


@dataclass(frozen=True)
class Docstring:
    """A docstring on one line, and the top-level package (or module) that it comes from."""

    package: str
    text: str


def docstring_documents() -> Iterator[Docstring]:
    """Yields the docstrings of at least 200 characters of the standard library and the installed packages.

    The order is fixed: the standard library first, packages and files by name. No text comes twice, white space is
    normalized, files that don't parse are passed over. Of a package at most 300 files, spread evenly, are read, up to
    about 150,000 characters.
    """
    seen: set[str] = set()
    for package, files in _packages():
        stride = max(1, -(-len(files) // _MOST_FILES_PER_PACKAGE))
        characters = 0
        for file in files[::stride]:
            if characters >= _MOST_CHARACTERS_PER_PACKAGE:
                break
            for text in _long_docstrings(file):
                if text not in seen:
                    seen.add(text)
                    characters += len(text)
                    yield Docstring(package, text)


def cached_docstrings(cache_directory: Path, say: Say) -> list[Docstring]:
    """`docstring_documents`, harvested once for each state of the installation and kept in the cache.

    `say` is told of a cache that is damaged or can't be written. Raises MissingError when the installation comes
    without source files.
    """
    path = cache_directory / "docstrings" / f"{_installation()}.jsonl"
    return [Docstring(**json.loads(line)) for line in cached_text(path, _harvest, say).splitlines()]


def _harvest() -> str:
    lines = [json.dumps(asdict(docstring)) for docstring in docstring_documents()]
    if not lines:
        raise MissingError("embedded text: this Python installation has no docstrings to read; pass --text PATH")
    return "".join(f"{line}\n" for line in lines)


def _roots() -> list[Path]:
    """The folders of the standard library and of the installed packages, in a fixed order."""
    paths = sysconfig.get_paths()
    folders = [paths["stdlib"], paths["purelib"], paths["platlib"], *site.getsitepackages()]
    return [Path(folder) for folder in dict.fromkeys(map(os.path.realpath, folders)) if os.path.isdir(folder)]


def _packages() -> Iterator[tuple[str, list[Path]]]:
    for root in _roots():
        for entry in sorted(root.iterdir(), key=lambda path: path.name):
            if entry.is_dir() and entry.name.isidentifier() and entry.name not in _FOLDERS_LEFT_OUT:
                yield entry.name, list(_source_files(entry))
            elif entry.suffix == ".py":
                yield entry.stem, [entry]


def _source_files(folder: Path) -> Iterator[Path]:
    for path, inner, names in os.walk(folder):
        inner[:] = sorted(set(inner) - _FOLDERS_LEFT_OUT)  # os.walk goes on with what is left in it
        yield from (Path(path) / name for name in sorted(names) if name.endswith(".py"))


def _long_docstrings(file: Path) -> Iterator[str]:
    """Yields the long docstrings of a source file, each on one line; none when it doesn't parse."""
    try:
        if file.stat().st_size > _MOST_BYTES_PER_FILE:
            return
        source = file.read_bytes()
        if not _LONG_STRING.search(source):
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's, about other people's escapes
            tree = ast.parse(source)
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            docstring = ast.get_docstring(node, clean=False)
            text = " ".join(inspect.cleandoc(docstring).split()) if docstring else ""
            if len(text) >= _LEAST_CHARACTERS and text.isprintable():
                yield text


def _installation() -> str:
    """A hash of the Python version and the names and versions of the installed packages."""
    installed = sorted(path.name for root in _roots() for path in root.glob("*.*-info"))
    bounds = [_LEAST_CHARACTERS, _MOST_CHARACTERS_PER_PACKAGE, _MOST_FILES_PER_PACKAGE, _MOST_BYTES_PER_FILE]
    return hashlib.sha256(json.dumps([platform.python_version(), installed, bounds]).encode()).hexdigest()[:32]
