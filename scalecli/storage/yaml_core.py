"""YAML 1.2's core schema: `1e-3` is a number, `no` is text, dates are text, and a key stands once."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import yaml

try:
    from yaml import CSafeDumper as SafeDumper
    from yaml import CSafeLoader as SafeLoader
except ImportError:  # PyYAML built without libyaml: the same classes, slower.
    from yaml import SafeDumper, SafeLoader  # type: ignore[assignment]


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


def dumped(value: Any, allow_unicode: bool = True) -> str:
    """Plain values as YAML text, keys in their own order. Raises UnicodeEncodeError for a text that is none."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=allow_unicode, width=120)


class _UnusualError(Exception):
    """The text has what `_usual` does not read."""


def parsed(text: str) -> Any:
    """The value of the one document in a YAML text.

    `_Loader` says what is wrong with a text, and reads what is unusual; for the rest it would take three times as long.

    Raises:
        yaml.YAMLError, RecursionError, ValueError: it is none, or has a key that stands twice, or an alias.
    """
    try:
        return _usual(text)
    except (_UnusualError, yaml.YAMLError, RecursionError, ValueError, TypeError):
        return yaml.load(text, Loader=_Loader)


def _usual(text: str) -> Any:
    """The value of one document without tags, anchors, aliases and keys that stand twice, straight from the parser."""
    next_event = _Loader(text).get_event
    _expect(next_event, yaml.StreamStartEvent)
    _expect(next_event, yaml.DocumentStartEvent)
    value = _value(next_event(), next_event)
    _expect(next_event, yaml.DocumentEndEvent)
    _expect(next_event, yaml.StreamEndEvent)
    return value


def _expect(next_event: Callable[[], Any], kind: type[yaml.Event]) -> None:
    if type(next_event()) is not kind:
        raise _UnusualError


def _value(event: Any, next_event: Callable[[], Any]) -> Any:
    kind = type(event)
    if kind not in _VALUES or event.anchor is not None or event.tag is not None:
        raise _UnusualError
    if kind is yaml.ScalarEvent:
        return _plain_value(event.value) if event.implicit[0] else event.value
    if kind is yaml.SequenceStartEvent:
        items = []
        while type(event := next_event()) is not yaml.SequenceEndEvent:
            items.append(_value(event, next_event))
        return items
    mapping: dict[Any, Any] = {}
    keys = 0
    while type(event := next_event()) is not yaml.MappingEndEvent:
        key = _value(event, next_event)
        mapping[key] = _value(next_event(), next_event)
        keys += 1
    if len(mapping) < keys:
        raise _UnusualError
    return mapping


_VALUES = {yaml.ScalarEvent, yaml.SequenceStartEvent, yaml.MappingStartEvent}


@functools.lru_cache(maxsize=2**14)
def _plain_value(text: str) -> Any:
    """The value of a scalar without quotes."""
    node = yaml.ScalarNode(_SCALARS.resolve(yaml.ScalarNode, text, (True, False)), text)
    return _Loader.yaml_constructors[node.tag](_SCALARS, node)


_SCALARS = _Loader("")
