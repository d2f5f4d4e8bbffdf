import math
from collections import Counter

import numpy as np
import pytest

from scalecli.data.tasks.mixing import Mixing
from scalecli.data.tasks.mixtures import _TURN, Turns, _apportioned
from scalecli.errors import ConfigurationError

SIZES = {"mnli": 392_702, "qqp": 363_849, "squad": 87_599, "cb": 250}


def test_rates_are_by_numbers_of_examples_each_at_most_the_cap():
    total = sum(SIZES.values())
    assert Mixing().rates(SIZES) == pytest.approx({name: size / total for name, size in SIZES.items()})
    assert Mixing(cap=1000).rates(SIZES) == pytest.approx(
        {"mnli": 4 / 13, "qqp": 4 / 13, "squad": 4 / 13, "cb": 1 / 13}
    )


def test_temperature():
    """r = min(n, cap)^(1/T), as T5 and mT5 mix."""
    powers = {"mnli": 2**19.0, "cb": 250.0}
    roots = {name: size**0.5 for name, size in powers.items()}
    expected = {name: root / sum(roots.values()) for name, root in roots.items()}
    assert Mixing(temperature=2.0).rates({"mnli": 2_000_000, "cb": 250}) == pytest.approx(expected)
    assert set(Mixing(temperature=math.inf).rates(SIZES).values()) == {0.25}


def test_weights():
    assert Mixing({"a": 3.0, "b": 1.0}).rates({"a": 1, "b": 10**6}) == {"a": 0.75, "b": 0.25}
    for weights, message in (({"a": 1.0, "bb": 1.0}, "'a'|bb"), ({"a": 1.0}, "none for b")):
        with pytest.raises(ConfigurationError, match=message):
            Mixing(weights).rates({"a": 1, "b": 1})


@pytest.mark.parametrize(
    "values",
    [{"cap": 0}, {"temperature": 0.0}, {"temperature": -1.0}, {"weights": {"a": 0.0}}, {"weights": {"a": math.nan}}],
)
def test_what_cannot_be(values):
    with pytest.raises(ConfigurationError, match="accepted"):
        Mixing(**values)


@pytest.mark.parametrize(
    ("rates", "total", "expected"),
    [
        ([0.5, 0.5], 10, [5, 5]),
        ([0.34, 0.33, 0.33], 10, [4, 3, 3]),
        ([0.999, 0.0005, 0.0005], 10, [8, 1, 1]),
        ([1.0], 7, [7]),
    ],
)
def test_places_are_apportioned(rates, total, expected):
    assert _apportioned(np.array(rates), total).tolist() == expected


def test_the_17_tasks_come_at_their_rates():
    sizes = [
        8551,
        67349,
        3668,
        363849,
        5749,
        392702,
        104743,
        2490,
        9427,
        250,
        400,
        27243,
        138854,
        2490,
        5428,
        259,
        1322,
        87599,
    ]
    rates = np.array(list(Mixing().rates({str(n): size for n, size in enumerate(sizes)}).values()))
    turns = Turns.of(rates.tolist(), seed=1)
    assert turns.counts.sum() == _TURN
    assert turns.counts / _TURN == pytest.approx(rates, rel=3e-3)
    assert np.bincount(turns.tasks).tolist() == turns.counts.tolist()
    # Any thousandth of a turn has them about as often: the order is a shuffled one.
    part = np.bincount(turns.tasks[:100_000], minlength=len(sizes)) / 100_000
    assert part == pytest.approx(rates, abs=0.01)


def test_places_before_are_counted_by_task():
    turns = Turns.of([0.5, 0.3, 0.2], seed=3)
    seen = Counter()
    for task, before in zip(turns.tasks[:2000].tolist(), turns.before[:2000].tolist(), strict=True):
        assert before == seen[task]
        seen[task] += 1


@pytest.mark.parametrize("start", [0, 2 * _TURN - 500])
def test_each_row_of_a_task_comes_once_an_epoch_across_turns(start):
    """Looking at the places of a window alone says where each task is in its epochs."""
    rows = [7, 40]
    turns = Turns.of([0.25, 0.75], seed=5)
    read = turns.reader(rows, seed=5)
    found = [tuple(map(int, read(n))) for n in range(start, start + 1000)]
    for task, size in enumerate(rows):
        turn, place = divmod(start, _TURN)
        drawn = turn * int(turns.counts[task]) + int((turns.tasks[:place] == task).sum())
        drawn_rows = [row for which, row in found if which == task]
        drawn_rows = drawn_rows[-drawn % size :]  # from the first epoch that begins in the window
        epochs = [drawn_rows[n : n + size] for n in range(0, len(drawn_rows) - size + 1, size)]
        assert len(epochs) > 5 and all(sorted(epoch) == list(range(size)) for epoch in epochs)
        assert epochs[0] != epochs[1]
