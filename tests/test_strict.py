import os
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pytest

from scalecli import strict
from scalecli.errors import ConfigurationError, MissingError


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int
    rate: float = 0.5

    def __post_init__(self) -> None:
        if self.size < 0:
            raise ConfigurationError(f"size: expected at least 0, found {self.size}")


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    kind: Literal["red", "green"] = "red"
    inner: Inner | None = None
    flags: tuple[bool, ...] = ()
    steps: list[int] = field(default_factory=list)
    table: dict[int, dict[str, float]] = field(default_factory=dict)
    scalars: dict[str, bool | int | float | str] = field(default_factory=dict)
    anything: dict[str, Any] | None = None


def build(**mapping):
    return strict.from_mapping(Outer, mapping, "x.yaml")


def test_everything_is_built_and_comes_back():
    mapping = {
        "name": "a",
        "kind": "green",
        "inner": {"size": 3, "rate": 2},
        "flags": [True, False],
        "steps": [1, 2],
        "table": {10: {"sst2/accuracy": 75}},
        "scalars": {"a": True, "b": 1, "c": 0.5, "d": "e"},
        "anything": {"deep": [None, {"er": 1}]},
    }
    outer = strict.from_mapping(Outer, mapping, "x.yaml")
    assert outer.inner == Inner(size=3, rate=2.0)
    assert type(outer.inner.rate) is float
    assert outer.flags == (True, False)
    assert [type(value) for value in outer.scalars.values()] == [bool, int, float, str]
    assert strict.to_mapping(outer) == mapping
    assert strict.from_mapping(Outer, strict.to_mapping(outer), "y.yaml") == outer


def test_none_is_left_out():
    assert strict.to_mapping(Outer(name="a")) == {
        **{"name": "a", "kind": "red", "flags": [], "steps": [], "table": {}, "scalars": {}}
    }


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ({}, "x.yaml: missing key 'name'"),
        ({"name": "a", "inner": {}}, "x.yaml: missing key 'inner.size'"),
        ({"name": "a", "inner": {"size": 1, "rat": 1}}, "x.yaml: unknown key 'inner.rat'; did you mean 'rate'?"),
        ({"name": "a", "inner": {"size": 1, 7: 1}}, "x.yaml: unknown key 'inner.7'; accepted: size, rate"),
        ({"name": 1}, "x.yaml: name: expected text, found 1"),
        ({"name": None}, "x.yaml: name: expected text, found nothing"),
        ({"name": "a", "inner": {"size": True}}, "x.yaml: inner.size: expected a whole number, found true"),
        ({"name": "a", "inner": {"size": 1.0}}, "x.yaml: inner.size: expected a whole number, found 1.0"),
        ({"name": "a", "inner": {"size": 1, "rate": True}}, "x.yaml: inner.rate: expected a number, found true"),
        ({"name": "a", "inner": {"size": 1, "rate": "1"}}, "x.yaml: inner.rate: expected a number, found '1'"),
        ({"name": "a", "inner": {"size": -1}}, "x.yaml: inner.size: expected at least 0, found -1"),
        (
            {"name": "a", "inner": {"size": 10**31}},
            "x.yaml: inner.size: expected a number of at most 30 digits, found 10000000000000000000000000000000",
        ),
        (
            {"name": "a", "inner": {"size": 1, "rate": -(10**31)}},
            "x.yaml: inner.rate: expected a number of at most 30 digits, found -10000000000000000000000000000000",
        ),
        ({"name": "a", "inner": [1]}, "x.yaml: inner: expected a mapping of keys to values, found [1]"),
        (
            {"name": "a", "kind": "gren"},
            "x.yaml: kind: expected one of red, green, found 'gren'; did you mean 'green'?",
        ),
        ({"name": "a", "steps": 3}, "x.yaml: steps: expected a list, found 3"),
        ({"name": "a", "steps": [1, "b"]}, "x.yaml: steps[1]: expected a whole number, found 'b'"),
        ({"name": "a", "flags": [1]}, "x.yaml: flags[0]: expected true or false, found 1"),
        ({"name": "a", "table": {"x": {}}}, "x.yaml: key of table: expected a whole number, found 'x'"),
        ({"name": "a", "table": {1: {"y": "z"}}}, "x.yaml: table.1.y: expected a number, found 'z'"),
        (
            {"name": "a", "scalars": {"b": []}},
            "x.yaml: scalars.b: expected true or false or a whole number or a number or text, found []",
        ),
    ],
)
def test_what_does_not_fit_is_named(mapping, message):
    with pytest.raises(ConfigurationError) as info:
        strict.from_mapping(Outer, mapping, "x.yaml")
    assert str(info.value) == message


def test_numpy_numbers_become_plain():
    plain = strict.to_mapping({"a": np.float32(0.5), "b": [np.int64(3)], np.int64(1): (2,)})
    assert plain == {"a": 0.5, "b": [3], 1: [2]}
    assert [type(plain["a"]), type(plain["b"][0]), *map(type, plain)] == [float, int, str, str, int]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("-2.5E+4", -2.5e4),
        (".5", 0.5),
        ("524_288", 524288),
        ("-7", -7),
        ("no", "no"),
        ("on", "on"),
        ("True", True),
        ("2022-07-21", "2022-07-21"),
        ("12:30", "12:30"),
        ("010", "010"),
        ("", None),
        ("null", None),
        (".inf", float("inf")),
        ("61M", "61M"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(tmp_path, text, value):
    (tmp_path / "a.yaml").write_text(f"key: {text}\n")
    loaded = strict.load_yaml(tmp_path / "a.yaml")["key"]
    assert loaded == value
    assert type(loaded) is type(value)


def test_what_is_written_is_read_back_unchanged(tmp_path):
    value = {
        "text": [
            "1e-3",
            "1e3",
            "no",
            "yes",
            "012",
            "1:30",
            "2022-07-21",
            "",
            "~",
            "a: b",
            "ä\nö",
            "- x",
            "1_0",
            "0x1F",
        ],
        "numbers": [1e-5, 1e22, 10**22, 0.1, -0.0, float("inf")],
        3: {"x": None, "y": [True, False]},
        "shared": [[1], [1]],
    }
    value["again"] = value["shared"]
    strict.write_yaml(tmp_path / "a.yaml", value)
    loaded = strict.load_yaml(tmp_path / "a.yaml")
    assert loaded == value
    assert list(loaded) == list(value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a: 1\nb: [1\n", r"a\.yaml:3: not valid YAML"),
        (b"a: 1\nb: \xff\n", r"a\.yaml:2: not UTF-8 text"),
        (b"- 1\n", r"a\.yaml: expected a mapping of keys to values, found \[1\]"),
        (b"", r"a\.yaml: expected a mapping of keys to values, found nothing"),
        (b"a: 1\nb: 2\na: 3\n", r"a\.yaml:3: not valid YAML \(key 'a' twice\)"),
        (b"a: &x [1]\nb: *x\n", r"a\.yaml:1: not valid YAML \(aliases are not accepted\)"),
        (b"a: &x [*x]\n", r"a\.yaml:1: not valid YAML \(aliases are not accepted\)"),
        (b"a: !!python/object/apply:os.system [ls]\n", r"a\.yaml:1: not valid YAML"),
        (b"a: 1\n---\nb: 2\n", r"a\.yaml:2: not valid YAML"),
        (b"[1]: 2\n{}: 3\n", r"a\.yaml:\d: not valid YAML"),
        (b"a: " + b"[" * 5000, r"a\.yaml.*: not valid YAML"),
        (b"a: \x07\n", r"a\.yaml.*: not valid YAML"),
    ],
)
def test_bad_files_are_one_clear_line(tmp_path, content, message):
    (tmp_path / "a.yaml").write_bytes(content)
    with pytest.raises(ConfigurationError, match=message) as info:
        strict.load_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(info.value)


def test_what_is_not_utf_8_is_not_written(tmp_path):
    with pytest.raises(ConfigurationError, match=r"'photos\\udcff' is not UTF-8"):
        strict.write_yaml(tmp_path / "a.yaml", {"name": os.fsdecode(b"photos\xff")})
    assert not (tmp_path / "a.yaml").exists()


def test_missing_and_oversized_files(tmp_path):
    with pytest.raises(MissingError, match=r"a\.yaml: no such file"):
        strict.load_yaml(tmp_path / "a.yaml")
    with open(tmp_path / "big.yaml", "wb") as stream:
        stream.truncate(strict.MAXIMUM_BYTES + 1)
    with pytest.raises(MissingError, match="larger than"):
        strict.load_yaml(tmp_path / "big.yaml")
