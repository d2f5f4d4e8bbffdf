import pytest

from scalecli.analysis.statistics.pareto import dominators


@pytest.mark.parametrize(
    ("costs", "qualities", "expected"),
    [
        ([], [], []),
        ([1.0], [1.0], [[]]),
        ([1, 2, 3], [1, 2, 3], [[], [], []]),
        ([1, 2, 3], [3, 2, 1], [[], [0], [0]]),
        ([1, 2, 3, 3], [1, 3, 2, 3], [[], [], [1], [1]]),
        ([1, 1, 1], [1, 2, 2], [[1, 2], [], []]),
        ([1, 2], [1, 1], [[], [0]]),
        ([5, 2, 1, 4], [3, 3, 2, 1], [[1], [], [], [2, 1]]),  # the cheapest first
    ],
)
def test_a_model_is_beaten_by_those_of_the_frontier_that_are_no_worse_and_better_somewhere(costs, qualities, expected):
    assert dominators(costs, qualities) == expected


def test_lengths_must_agree():
    with pytest.raises(ValueError):
        dominators([1], [1, 2])
