import math

import pytest
import yaml

from scalecli.storage import yaml_core

# What `parsed` reads straight from the parser, and what it leaves to the loader; both have to say the same.
USUAL = [
    "a: 1\nb: [1e-3, .5, -2, +3, 1_000, 0, 007, .inf, 2022-07-21, yes, no, on, ~, null, true, 'true', \"1\"]\n",
    "empty:\nnested:\n- - {a: {}, b: []}\n- |\n  block\n- >-\n  folded\n  text\n",
    "--- {quoted: 'x: y', other: \"\\u00e9\\n\"}\n...\n",
    "2: two\n2.5: more\ntrue: key\n~: none\n",
    "plain text",
    "[]",
]
UNUSUAL = [
    "",
    "a: 1\na: 2\n",
    "b:\n  - x: {y: 1, y: 2}\n",
    "1: one\n1.0: float\n",
    "a: &x 1\nb: *x\n",
    "a: &x 1\n",
    "a: *nowhere\n",
    "a: !!str 1\n",
    "a: !!binary aGk=\n",
    "a: !!set {x, y}\n",
    "a: !mine 1\n",
    "a: ! 1\n",
    "<<: {a: 1}\nb: 2\n",
    "? [a, b]\n: 1\n",
    "? {a: b}\n: 1\n",
    "--- 1\n--- 2\n",
    "%YAML 1.1\n---\na: yes\n",
    "a: [1, 2\n",
    "\ta: 1\n",
    "a: 'open\n",
    "a: \x07\n",
    f"a: {'9' * 5000}\n",
    "[" * 3000 + "]" * 3000,
]


def outcome(read, text):
    """What is read, or the error and the line that it names."""
    try:
        return repr(read(text))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return type(error), error.problem, mark and (mark.line, mark.column)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        return type(error), str(error)


@pytest.mark.parametrize("text", [*USUAL, *UNUSUAL])
def test_the_short_way_reads_what_the_loader_reads(text):
    assert outcome(yaml_core.parsed, text) == outcome(lambda it: yaml.load(it, Loader=yaml_core._Loader), text)


@pytest.mark.parametrize("text", USUAL)
def test_usual_texts_never_need_the_loader(text, monkeypatch):
    monkeypatch.setattr(yaml, "load", None)
    yaml_core.parsed(text)


def test_values_are_those_of_the_core_schema():
    assert yaml_core.parsed("[1e-3, no, 2022-07-21, 0, 010, ~, '1']") == [1e-3, "no", "2022-07-21", 0, "010", None, "1"]
    assert math.isnan(yaml_core.parsed(".nan"))
    assert yaml_core.parsed("1: a") == {1: "a"}
