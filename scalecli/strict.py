"""YAML into frozen dataclasses and back, where nothing is guessed: every key known, every value of its stated type.

The YAML is that of `scalecli.storage.yaml_core`.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from scalecli.errors import ConfigurationError, nearest
from scalecli.storage.files import read_bytes, write_atomically
from scalecli.storage.yaml_core import dumped, parsed

T = TypeVar("T")

MAXIMUM_BYTES = 16 * 2**20


def load_yaml(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Returns the mapping in a local or remote YAML file.

    Raises:
        MissingError: the file is not there, cannot be read, or is larger than 16 MiB.
        ConfigurationError: it is not UTF-8, not YAML, or not a mapping; names the line.
    """
    path = os.fspath(path)
    return parse_yaml(read_bytes(path, MAXIMUM_BYTES), path)


def parse_yaml(content: bytes, path: str) -> dict[Any, Any]:
    """Returns the mapping in the content of the YAML file `path`.

    Raises:
        ConfigurationError: it is not UTF-8, not YAML, or not a mapping; names the line.
    """
    try:
        value = parsed(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ConfigurationError(f"{path}:{line}: not UTF-8 text") from error
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line_text = f":{mark.line + 1}" if mark else ""
        raise ConfigurationError(f"{path}{line_text}: not valid YAML ({error.problem or error.context})") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigurationError(f"{path}: not valid YAML ({' '.join(str(error).split())})") from error
    if not isinstance(value, dict):
        raise ConfigurationError(f"{path}: expected a mapping of keys to values, found {_shown(value)}")
    return value


def dump_yaml(value: Any) -> str:
    """Returns plain values as YAML text, keys in their own order.

    Raises:
        ConfigurationError: a text among them is none, such as the name of a file that is not UTF-8.
    """
    try:
        text = dumped(value)
        # Marks that turn a terminal's text around, and the like, are written as escapes.
        return text if all(map(str.isprintable, text.split("\n"))) else dumped(value, allow_unicode=False)
    except UnicodeEncodeError as error:
        raise ConfigurationError(f"{error.object!a} is not UTF-8, and can't be written as YAML") from error


def write_yaml(path: str | os.PathLike[str], mapping: dict[Any, Any]) -> None:
    """Writes a mapping of plain values as YAML, atomically (see `files.write_atomically`)."""
    write_atomically(path, dump_yaml(mapping))


def to_mapping(value: Any) -> Any:
    """Returns a dataclass (or anything inside one) as plain values that YAML can hold, without fields that are None."""
    if dataclasses.is_dataclass(value):
        named = ((field.name, getattr(value, field.name)) for field in dataclasses.fields(value))
        return {name: to_mapping(item) for name, item in named if item is not None}
    if isinstance(value, dict):
        return {to_mapping(key): to_mapping(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_mapping(item) for item in value]
    # NumPy's numbers, without importing NumPy.
    return value.item() if hasattr(value, "item") else value


def from_mapping(cls: type[T], mapping: Any, where: str) -> T:
    """Builds the dataclass `cls`, and the dataclasses in its fields, from a mapping of plain values.

    Fields may be bool, int (never from a bool), float (also from an int), str, Any, Literal, Optional and other unions,
    list[X], tuple[X, ...], dict[str, X], dict[int, X] and dataclasses; of a union of dataclasses the field `kind`, a
    Literal, tells which is meant. `where` names the source, such as a file's path.

    Raises:
        ConfigurationError: a key is unknown (with the nearest one) or missing, or a value has another type; names the
            source and the path of the key, such as `data.vocabulary.pieces`.
    """
    return _build(cls, mapping, where, "")


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    return get_type_hints(cls)


@functools.cache
def _fields(cls: Any) -> dict[str, dataclasses.Field[Any]]:
    return {field.name: field for field in dataclasses.fields(cls)}


def _build(cls: Any, value: Any, where: str, path: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, path, "a mapping of keys to values", value)
    hints, fields = _hints(cls), _fields(cls)
    for key in value:
        if key not in fields:
            hint = nearest(str(key), fields) or f"; accepted: {', '.join(fields)}"
            raise ConfigurationError(f"{where}: unknown key {_join(path, key)!r}{hint}")
    values = {}
    for name, field in fields.items():
        if name in value:
            item, kind = value[name], hints[name]
            values[name] = item if _is_right(kind, item) else _convert(kind, item, where, _join(path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigurationError(f"{where}: missing key {_join(path, name)!r}")
    try:
        return cls(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {_join(path, error)}") from None


_LARGEST = 10**30  # more than anything that is counted here; products of such numbers are still finite floats
_SCALARS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "nothing"}


@functools.cache
def _parts(kind: Any) -> tuple[Any, tuple[Any, ...]]:
    """`dict` and `(str, int)` of dict[str, int], and the like."""
    return get_origin(kind), get_args(kind)


def _is_right(kind: Any, value: Any) -> bool:
    """Whether a value is a scalar as a field of this type has it, so that nothing is left to check or convert."""
    return type(value) is kind and kind in _SCALARS and not (kind is int and abs(value) > _LARGEST)


def _convert(kind: Any, value: Any, where: str, path: str) -> Any:
    if kind is Any or _is_right(kind, value):
        return value
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where, path)
    if kind in _SCALARS:
        if type(value) is int and abs(value) > _LARGEST:
            raise _wrong(where, path, "a number of at most 30 digits", value)
        if kind is float and type(value) is int:
            return float(value)
        raise _wrong(where, path, _SCALARS[kind], value)
    origin, arguments = _parts(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where, path)
    if origin is Literal:
        if value in arguments:
            return value
        raise _wrong(where, path, "one of " + ", ".join(map(str, arguments)), value, nearest(str(value), arguments))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, path, "a mapping of keys to values", value)
        key_kind, value_kind = arguments
        if all(_is_right(key_kind, key) and _is_right(value_kind, item) for key, item in value.items()):
            return dict(value)
        return {
            _convert(key_kind, key, where, f"key of {path}"): _convert(value_kind, item, where, _join(path, key))
            for key, item in value.items()
        }
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, path, "a list", value)
        return origin(_convert(arguments[0], item, where, f"{path}[{index}]") for index, item in enumerate(value))
    raise TypeError(f"{path}: {kind} is no type that a strict dataclass may have")


def _convert_union(members: tuple[Any, ...], value: Any, where: str, path: str) -> Any:
    if any(_is_right(member, value) for member in members):
        return value
    members = tuple(member for member in members if member is not type(None))
    members = tuple(member for member in members if _is_of_kind(member, value)) or members[:1]
    if len(members) == 1:
        return _convert(members[0], value, where, path)
    for member in members:
        try:
            return _convert(member, value, where, path)
        except ConfigurationError:
            continue
    raise _wrong(where, path, " or ".join(_SCALARS.get(member, str(member)) for member in members), value)


def _is_of_kind(member: Any, value: Any) -> bool:
    """Whether a member of a union may be meant: of dataclasses that have a `kind`, the one that has the value's."""
    kinds = _hints(member).get("kind") if isinstance(member, type) and dataclasses.is_dataclass(member) else None
    return kinds is None or (isinstance(value, dict) and value.get("kind") in get_args(kinds))


def _join(path: str, key: object) -> str:
    return f"{path}.{key}" if path else str(key)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(where: str, path: str, expected: str, value: Any, hint: str = "") -> ConfigurationError:
    key = f"{where}: {path}" if path else where
    return ConfigurationError(f"{key}: expected {expected}, found {_shown(value)}{hint}")
