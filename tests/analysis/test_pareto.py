import pytest

from scalecli.analysis.pareto import pareto_efficient


@pytest.mark.parametrize(
    ("costs", "qualities", "expected"),
    [
        ([], [], []),
        ([1.0], [1.0], [True]),
        ([1, 2, 3], [1, 2, 3], [True, True, True]),
        ([1, 2, 3], [3, 2, 1], [True, False, False]),
        ([1, 2, 3, 3], [1, 3, 2, 3], [True, True, False, False]),
        ([1, 1, 1], [1, 2, 2], [False, True, True]),
        ([1, 2], [1, 1], [True, False]),
        ([None, 1, 2, float("nan")], [9, None, 1, 9], [False, False, True, False]),
    ],
)
def test_a_row_is_efficient_unless_another_is_no_worse_and_better_somewhere(costs, qualities, expected):
    assert pareto_efficient(costs, qualities) == expected


def test_lengths_must_agree():
    with pytest.raises(ValueError):
        pareto_efficient([1], [1, 2])
