"""YAML into frozen dataclasses and back, where nothing is guessed: every key known, every value of its stated type.

The YAML read here is the core schema of YAML 1.2: `1e-3` is a number, `no` is text, dates are text, a key stands once.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import re
import types
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from scalecli.errors import ConfigurationError, nearest
from scalecli.storage.files import read_bytes, write_atomically

try:
    from yaml import CSafeDumper as SafeDumper
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml: the same classes, slower.
    from yaml import SafeDumper, SafeLoader  # type: ignore[assignment]

T = TypeVar("T")

MAXIMUM_BYTES = 16 * 2**20


class _Loader(SafeLoader):
    """YAML 1.2's core schema; a key that stands twice and an alias are errors, since neither can be meant here."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 (PyYAML's own way to say it)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            seen: set[str] = set()
            for key, _ in node.value:
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"key {key.value!r} twice", key.start_mark)
                seen.add(key.value)
        return mapping

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        if node in self.constructed_objects or node in self.recursive_objects:
            # A few nested aliases describe more values than any memory holds.
            raise yaml.constructor.ConstructorError(None, None, "aliases are not accepted", node.start_mark)
        return super().construct_object(node, deep)


class _Dumper(SafeDumper):
    """Writes what `_Loader` reads back unchanged."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


_FLOAT = re.compile(
    r"^(?:[-+]?(?:\.\d+|\d+\.\d*|\d+(?=[eE]))(?:[eE][-+]?\d+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
)
for _tag, _pattern, _first in (
    ("null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    ("bool", re.compile(r"^(?:true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    ("int", re.compile(r"^[-+]?(?:0|[1-9][0-9_]*)$"), list("-+0123456789")),
    ("float", _FLOAT, list("-+.0123456789")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", _pattern, _first)
# Text such as "1e-3" is then written in quotes, although YAML 1.1 would not need them.
_Dumper.add_implicit_resolver("tag:yaml.org,2002:float", _FLOAT, list("-+.0123456789"))


def load_yaml(path: str | os.PathLike[str]) -> dict[Any, Any]:
    """Returns the mapping in a local or remote YAML file.

    Raises:
        MissingError: the file is not there, cannot be read, or is larger than 16 MiB.
        ConfigurationError: it is not UTF-8, not YAML, or not a mapping; names the line.
    """
    path = os.fspath(path)
    content = read_bytes(path, MAXIMUM_BYTES)
    try:
        value = yaml.load(content.decode("utf-8-sig"), Loader=_Loader)
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
        raise ConfigurationError(f"{path}: expected a mapping of keys to values, found {_found(value)}")
    return value


def dump_yaml(value: Any) -> str:
    """Returns plain values as YAML text, keys in their own order.

    Raises:
        ConfigurationError: a text among them is none, such as the name of a file that is not UTF-8.
    """
    try:
        text = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
        if all(map(str.isprintable, text.split("\n"))):
            return text
        # Marks that turn a terminal's text around, and the like, are written as escapes.
        return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=False, width=120)
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


def _build(cls: Any, value: Any, where: str, path: str) -> Any:
    if not isinstance(value, dict):
        raise _wrong(where, path, "a mapping of keys to values", value)
    hints = _hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    for key in value:
        if key not in fields:
            hint = nearest(str(key), fields) or f"; accepted: {', '.join(fields)}"
            raise ConfigurationError(f"{where}: unknown key {_join(path, key)!r}{hint}")
    values = {}
    for name, field in fields.items():
        if name in value:
            values[name] = _convert(hints[name], value[name], where, _join(path, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ConfigurationError(f"{where}: missing key {_join(path, name)!r}")
    try:
        return cls(**values)
    except ConfigurationError as error:
        raise ConfigurationError(f"{where}: {_join(path, error)}") from None


_LARGEST = 10**30  # beyond all that is counted here, and what products of are still floats
_SCALARS = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "nothing"}


def _convert(kind: Any, value: Any, where: str, path: str) -> Any:
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _build(kind, value, where, path)
    if kind in _SCALARS:
        if type(value) is int and abs(value) > _LARGEST:
            raise _wrong(where, path, "a number of at most 30 digits", value)
        if type(value) is kind:
            return value
        if kind is float and type(value) is int:
            return float(value)
        raise _wrong(where, path, _SCALARS[kind], value)
    origin, arguments = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType):
        return _convert_union(arguments, value, where, path)
    if origin is Literal:
        if value in arguments:
            return value
        raise _wrong(where, path, "one of " + ", ".join(map(str, arguments)), value, nearest(str(value), arguments))
    if origin is dict:
        if not isinstance(value, dict):
            raise _wrong(where, path, "a mapping of keys to values", value)
        return {
            _convert(arguments[0], key, where, f"key of {path}"): _convert(arguments[1], item, where, _join(path, key))
            for key, item in value.items()
        }
    if origin in (list, tuple):
        if not isinstance(value, (list, tuple)):
            raise _wrong(where, path, "a list", value)
        return origin(_convert(arguments[0], item, where, f"{path}[{index}]") for index, item in enumerate(value))
    raise TypeError(f"{path}: {kind} is no type that a strict dataclass may have")


def _convert_union(members: tuple[Any, ...], value: Any, where: str, path: str) -> Any:
    if value is None and type(None) in members:
        return None
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


def _found(value: Any) -> str:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(where: str, path: str, expected: str, value: Any, hint: str = "") -> ConfigurationError:
    place = f"{where}: {path}" if path else where
    return ConfigurationError(f"{place}: expected {expected}, found {_found(value)}{hint}")
