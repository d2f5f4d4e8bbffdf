import random

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


def test_of_many_models_every_one_is_compared_with_every_other():
    generator = random.Random(0)
    for _ in range(200):
        count, levels = generator.randrange(15), generator.choice((3, 6, 1000))
        points = [(generator.randrange(levels), generator.randrange(levels)) for _ in range(count)]
        beaten_by = [
            {other for other in points if other[0] <= cost and other[1] >= quality and other != (cost, quality)}
            for cost, quality in points
        ]
        frontier = [index for index in range(count) if not beaten_by[index]]
        expected = [sorted(i for i in frontier if points[i] in beaten_by[index]) for index in range(count)]
        frontier_by_model = dominators([cost for cost, _ in points], [quality for _, quality in points])
        assert [sorted(each) for each in frontier_by_model] == expected
