import pytest

from scalecli.analysis.quantities import parse_quantity, rounding_of
from scalecli.errors import ConfigurationError


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *(("61M", 61e6), ("2.85B", 2.85e9), ("1.37G", 1.37e9), ("367T", 367e12), ("5K", 5e3), ("8e12", 8e12)),
        *(("-1.8", -1.8), (" 300m ", 3e8), (".5", 0.5), ("16", 16)),
    ],
)
def test_numbers_with_and_without_multiples(text, value):
    assert parse_quantity(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "M", "61X", "6 1M", "1e", "inf", "nan", "1,000", "٣M", "--1", "1e9999"])
def test_what_is_no_number(text):
    with pytest.raises(ConfigurationError, match="expected a number such as 61M"):
        parse_quantity(text)


@pytest.mark.parametrize(
    ("text", "half_a_unit"),
    [("61M", 0.5e6), ("2.85B", 0.005e9), ("3.70T", 0.005e12), ("11T", 0.5e12), ("367T", 0.5e12), ("7", 0.5)],
)
def test_the_rounding_of_a_print(text, half_a_unit):
    assert rounding_of(text) == pytest.approx(half_a_unit)
