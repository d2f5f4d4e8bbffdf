import re

import pytest

from scalecli.architectures import ARCHITECTURES, KNOBS
from scalecli.architectures.operators import operator_forms, operator_text, operators, read_operator


def test_no_two_operators_look_alike():
    forms = [form for code in operators() for form in operator_forms(code)]
    assert len(set(forms)) == len(forms)
    assert len({operator.option for operator in operators().values()}) == len(operators())


def test_every_knob_has_an_operator_whose_help_names_its_architectures():
    assert {name for operator in operators().values() for name in operator.fields} >= set(KNOBS)
    for operator in operators().values():
        owners = [
            name
            for name in sorted(ARCHITECTURES)
            if operator.fields[0] in KNOBS and ARCHITECTURES[name].has(operator.fields[0])
        ]
        named = re.search(r"\(([a-z, ]+)\)\.$", operator.help)
        assert sorted(named[1].split(", ") if named else []) == owners


@pytest.mark.parametrize("code", operators())
def test_an_operator_is_read_as_it_is_written(code):
    accepted = operators()[code].values
    for value in (1, 24, 1025) if accepted is int else (True,) if accepted is bool else accepted:
        assert read_operator(operator_text(code, value), released=False) == (code, value)


@pytest.mark.parametrize(
    ("text", "released", "expected"),
    [
        ("ff12k", False, ("ff", 12288)),
        ("nl2k", False, ("nl", 2048)),
        ("ff12000", False, ("ff", 12000)),
        ("ff12000", True, ("ff", 12288)),
        ("dm1000", True, ("dm", 1024)),
        ("dm1000k", True, ("dm", 1024 * 1024)),
        ("kv1000", True, ("kv", 1000)),
        ("nl-1", False, ("nl", -1)),
        ("nl", False, None),
        ("sh4", False, None),
        ("rtact", False, None),
        ("nl1234567890123", False, None),
        ("small", False, None),
    ],
)
def test_what_is_read(text, released, expected):
    assert read_operator(text, released) == expected
