import pytest

from scalecli.analysis.papers.published import published_models
from scalecli.analysis.rows.comparison import column_keys, row_of_published
from scalecli.analysis.rows.filters import parse_condition
from scalecli.errors import UsageError

ROWS = [row_of_published(published_models()[name]) for name in ("small", "base", "nl12-xxl", "glu-base", "vit-s")]
KEYS = column_keys(ROWS)


@pytest.mark.parametrize(
    ("condition", "names"),
    [
        ("parameters<100M", ["small", "vit-s"]),
        ("parameters <= 223M", ["small", "base", "vit-s"]),
        ("parameters=0.223B", ["base"]),
        ("parameters!=223M", ["small", "nl12-xxl", "glu-base", "vit-s"]),
        ("flops>=11e12", ["base", "glu-base"]),
        ("steps_per_s>9", ["small"]),
        ("upstream>-1.73", ["nl12-xxl", "glu-base"]),
        ("glue>80", ["base", "nl12-xxl", "glu-base"]),
        ("heads=128", ["nl12-xxl"]),
        ("chips=64", ["vit-s"]),
        ("architecture=GLU", ["glu-base"]),
        ("source!=architectures", ["small", "base", "nl12-xxl", "vit-s"]),
        ("name=base", ["base"]),
    ],
)
def test_the_rows_that_meet_a_condition(condition, names):
    parsed = parse_condition(condition, KEYS)
    assert [row.name for row in ROWS if parsed.holds(row)] == names


def test_a_row_without_the_figure_meets_nothing():
    for condition in ("flops<1e30", "flops!=1"):
        assert "nl12-xxl" not in [row.name for row in ROWS if parse_condition(condition, KEYS).holds(row)]


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("parameters", "expected a condition such as parameters<300M"),
        ("parameters<", "expected a condition"),
        ("<300M", "expected a condition"),
        ("1<parameters<300M", "expected a condition"),
        ("parameters==300M", "expected a condition"),
        ("parametres<300M", "no column 'parametres'; did you mean 'parameters'?"),
        ("parameters<many", "'parameters<many': expected a number such as 61M"),
        ("architecture<glu", "architecture is text, which only = and != compare"),
    ],
)
def test_what_is_no_condition(condition, message):
    with pytest.raises(UsageError) as error:
        parse_condition(condition, KEYS)
    assert message in str(error.value)
