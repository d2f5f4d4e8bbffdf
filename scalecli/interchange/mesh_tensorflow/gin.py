"""gin's configuration files, read as data: bindings of literals, macros and references. Nothing in them is run."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scalecli.errors import ConfigurationError
from scalecli.storage.files import read_bytes

_BYTES_LIMIT = 1 << 20
_SELECTOR = r"[A-Za-z_][\w./]*"
_IMPORT = re.compile(
    rf"import\s+{_SELECTOR}(\s+as\s+\w+)?|from\s+{_SELECTOR}\s+import\s+\w+(\s+as\s+\w+)?|include\s+\S+"
)
_BINDING = re.compile(rf"({_SELECTOR})\s*=\s*(.+)", re.DOTALL)
_TEXT = r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\""
_PIECE = re.compile(
    rf"(?P<text>{_TEXT})|(?P<other>[@%]{_SELECTOR}(?:\(\))?)|(?P<comment>#[^\n]*)|(?P<bracket>[\[\](){{}}])"
)
_MOST_MACROS = 16  # that refer to one another


@dataclass(frozen=True)
class Reference:
    """What a value names instead of saying: `%macro`, or `@function`."""

    text: str


@dataclass(frozen=True)
class Gin:
    """The bindings of one file, by what stands before their equals signs."""

    path: Path
    bindings: dict[str, Any]

    @classmethod
    def read(cls, path: Path) -> Gin:
        """Reads a file of at most 1 MiB.

        Raises:
            MissingError: the file is not there or larger.
            ConfigurationError: a line is no import and no binding of a value; names the line.
        """
        try:
            text = read_bytes(path, _BYTES_LIMIT).decode("utf-8")
        except UnicodeDecodeError:
            raise ConfigurationError(f"{path}: not text in UTF-8") from None
        bindings = {}
        for number, statement in _statements(text):
            if _IMPORT.fullmatch(statement):
                continue  # of code, which is not looked at
            match = _BINDING.fullmatch(statement)
            try:
                if match is None:
                    raise ValueError
                bindings[match[1]] = _value(match[2])
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                shown = statement if len(statement) <= 60 else f"{statement[:60]}..."
                raise ConfigurationError(
                    f"{path}:{number}: neither an import nor a binding of a value: {shown!r}; nothing of it is run"
                ) from None
        return cls(path, bindings)

    def get(self, configurable: str, parameter: str, scope: str = "") -> Any:
        """The value of `scope/module.configurable.parameter` or else, without the scope, that for all; or None.

        A macro is followed to its value.

        Raises:
            ConfigurationError: macros refer to one another without an end, or to none.
        """
        by_scope: dict[str, Any] = {}
        for key, value in self.bindings.items():
            scopes, _, selector = key.rpartition("/")
            *_, owner, name = ("", *selector.split("."))
            if (owner, name) == (configurable, parameter):
                by_scope[scopes.rpartition("/")[2]] = value
        return self._follow(by_scope.get(scope, by_scope.get("")))

    def _follow(self, value: Any) -> Any:
        for _ in range(_MOST_MACROS):
            if not isinstance(value, Reference) or not value.text.startswith("%"):
                return value
            if value.text[1:] not in self.bindings:
                raise ConfigurationError(f"{self.path}: {value.text} is not defined")
            value = self.bindings[value.text[1:]]
        raise ConfigurationError(f"{self.path}: macros refer to one another without an end")


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """The statements with the numbers of their lines; one goes on over a backslash and inside brackets."""
    statement, first, depth = "", 0, 0
    for number, line in enumerate(text.splitlines(), start=1):
        line = _PIECE.sub(lambda piece: "" if piece["comment"] else piece[0], line).rstrip()
        if not statement:
            first = number
        continued = line.endswith("\\")
        statement += line.removesuffix("\\") + "\n"
        depth += sum((piece[0] in "[({") - (piece[0] in "])}") for piece in _PIECE.finditer(line) if piece["bracket"])
        if not continued and depth <= 0:
            if statement.strip():
                yield first, statement.strip()
            statement, depth = "", 0
    if statement.strip():
        yield first, statement.strip()


def _value(text: str) -> Any:
    """A literal; macros and references in it become `Reference`s."""
    references: list[Reference] = []

    def placeholder(piece: re.Match[str]) -> str:
        if not piece["other"]:
            return piece[0]
        references.append(Reference(piece["other"]))
        return f"{len(references) - 1}j"  # an imaginary number, which gin's files have no use for

    value = ast.literal_eval(_PIECE.sub(placeholder, text).replace("\n", " ").strip())
    return _restored(value, references)


def _restored(value: Any, references: list[Reference]) -> Any:
    if isinstance(value, complex):
        index = int(value.imag)
        if value.real or index != value.imag or index >= len(references):
            raise ValueError
        return references[index]
    if isinstance(value, (list, tuple)):
        return type(value)(_restored(item, references) for item in value)
    if isinstance(value, dict):
        return {key: _restored(item, references) for key, item in value.items()}
    return value
