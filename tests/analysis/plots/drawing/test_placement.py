import itertools
import random
from dataclasses import replace

import pytest

from scalecli.analysis.plots.drawing.placement import Label, place_labels

WIDTH, HEIGHT = 370.0, 300.0
STROKE = 0.25  # half the width of a leader


def box(label, place):
    return (
        place.x - label.width / 2,
        place.y - label.height / 2,
        place.x + label.width / 2,
        place.y + label.height / 2,
    )


def overlap(one, other):
    return one[0] < other[2] and other[0] < one[2] and one[1] < other[3] and other[1] < one[3]


def scattered(count, seed, spread):
    """Labels of points around a diagonal, as models lie."""
    chance = random.Random(seed)
    labels = []
    for _ in range(count):
        along = chance.uniform(0.1, 0.9)
        x, y = (size * min(max(along + chance.gauss(0, spread), 0.03), 0.97) for size in (WIDTH, HEIGHT))
        labels.append(Label(x, y, chance.uniform(2, 6), chance.uniform(14, 50), 7.5))
    return labels


@pytest.mark.parametrize(("count", "spread", "least"), [(20, 0.1, 20), (60, 0.15, 60), (100, 0.05, 40)])
@pytest.mark.parametrize("seed", [1, 2])
def test_no_text_lies_on_another_one_or_on_a_mark_or_outside(count, seed, spread, least):
    labels = scattered(count, seed, spread)
    marks = [(label.x, label.y, label.radius) for label in labels]
    places = place_labels(labels, marks, [[(0, 0), (WIDTH, HEIGHT)]], WIDTH, HEIGHT)
    boxes = [box(label, place) for label, place in zip(labels, places, strict=True) if place]
    assert len(boxes) >= least
    assert not any(overlap(one, other) for one, other in itertools.combinations(boxes, 2))
    circles = [(x - radius, y - radius, x + radius, y + radius) for x, y, radius in marks]
    assert not any(overlap(one, other) for one in boxes for other in circles)
    assert all(left >= 0 and bottom >= 0 and right <= WIDTH and top <= HEIGHT for left, bottom, right, top in boxes)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_no_leader_runs_over_a_text(seed):
    labels = scattered(100, seed, 0.05)
    places = place_labels(labels, [(label.x, label.y, label.radius) for label in labels], [], WIDTH, HEIGHT)
    placed = [(label, place) for label, place in zip(labels, places, strict=True) if place]
    leaders = [(place, *place.leader) for _, place in placed if place.leader]
    assert len(leaders) > 20
    for place, start, end in leaders:
        line = [[a + (b - a) * step / 1000 for a, b in zip(start, end, strict=True)] for step in range(1001)]
        boxes = [box(label, other) for label, other in placed if other is not place]
        assert not any(
            left - STROKE < x < right + STROKE and bottom - STROKE < y < top + STROKE
            for x, y in line
            for left, bottom, right, top in boxes
        )


def test_a_lone_label_stands_right_of_its_mark_without_a_leader():
    label = Label(100, 100, 4, 30, 8)
    (place,) = place_labels([label], [(100, 100, 4)], [], WIDTH, HEIGHT)
    assert place.leader is None and place.y == pytest.approx(100) and 119 < place.x < 122


def test_at_the_right_edge_it_stands_to_the_left():
    (place,) = place_labels([Label(365, 100, 4, 30, 8)], [(365, 100, 4)], [], WIDTH, HEIGHT)
    assert place.x + 15 < 365 - 4


def test_a_label_that_stands_off_has_a_leader_to_its_mark():
    crowd = [(100 + 6 * x, 100 + 6 * y, 4) for x in range(-3, 4) for y in range(-3, 4)]
    (place,) = place_labels([Label(100, 100, 4, 20, 8)], crowd, [], WIDTH, HEIGHT)
    (start_x, start_y), (end_x, end_y) = place.leader
    assert (end_x - 100) ** 2 + (end_y - 100) ** 2 == pytest.approx(4**2)
    assert abs(start_x - place.x) <= 10 and abs(start_y - place.y) <= 4


def test_where_there_is_no_room_there_is_no_label():
    label = Label(20, 20, 4, 200, 8)
    assert place_labels([label], [(20, 20, 4)], [], 40, 40) == [None]
    assert place_labels([], [], [], WIDTH, HEIGHT) == []


def test_a_label_rather_keeps_off_a_line():
    line = [(100, 100), (300, 100)]
    (place,) = place_labels([Label(100, 100, 3, 30, 8)], [(100, 100, 3)], [line], WIDTH, HEIGHT)
    assert not (abs(place.y - 100) < 4 and place.x > 100)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_those_that_are_to_be_first_win_over_the_others(seed):
    labels = scattered(150, seed, 0.03)
    labels = [replace(label, is_first=index % 8 == 0) for index, label in enumerate(labels)]
    marks = [(label.x, label.y, label.radius) for label in labels]
    places = place_labels(labels, marks, [], WIDTH, HEIGHT)
    missing = [label.is_first for label, place in zip(labels, places, strict=True) if place is None]
    assert len(missing) > 10 and not any(missing)
