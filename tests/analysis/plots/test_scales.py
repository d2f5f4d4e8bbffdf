import pytest

from scalecli.analysis.plots.scales import MINUS, Scale, round_text, scales, tick_texts
from tests.analysis.plots.figures import figure_of, mark


@pytest.mark.parametrize(
    ("low", "high", "is_log", "expected"),
    [
        (1e12, 1e14, True, [1e12, 2e12, 5e12, 1e13, 2e13, 5e13, 1e14]),
        (1.0, 1e22, True, [1, 1e4, 1e8, 1e12, 1e16, 1e20]),
        (1e6, 1e12, True, [1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12]),
        (0.9, 3.3, True, [1, 1.5, 2, 3]),
        (-2.97, -1.36, False, [-2.75, -2.5, -2.25, -2.0, -1.75, -1.5]),
        (0.0, 100.0, False, [0, 20, 40, 60, 80, 100]),
    ],
)
def test_ticks_are_round_and_few(low, high, is_log, expected):
    assert Scale(low, high, is_log).ticks(7) == pytest.approx(expected)


@pytest.mark.parametrize("is_log", [False, True])
@pytest.mark.parametrize("ratio", [1.0001, 1.01, 1.3, 2, 7, 40, 1e3, 1e8, 1e20])
@pytest.mark.parametrize("low", [1e-9, 0.37, 61e6, 3.7e12])
def test_every_axis_has_ticks_on_it(low, ratio, is_log):
    scale = Scale(low, low * ratio, is_log)
    ticks = scale.ticks(7)
    assert 2 <= len(ticks) <= 8 and ticks == sorted(ticks)
    assert all(-1e-6 <= scale.position(tick) <= 1 + 1e-6 for tick in ticks)


def test_places_follow_the_logarithm_where_the_axis_does():
    assert Scale(1.0, 100.0, True).position(10.0) == pytest.approx(0.5)
    assert Scale(0.0, 100.0, False).position(10.0) == pytest.approx(0.1)


@pytest.mark.parametrize("values", [(50.0,), (50.0, 50.0), (0.0,), (1.0, 2.0)])
def test_all_models_are_inside_with_a_margin(values):
    panel = figure_of([mark(x=1e12, y=value) for value in values]).panels[0]
    for scale, places in zip(scales(panel), ([1e12], values), strict=True):
        assert all(0 < scale.position(place) < 1 for place in places)


def test_ticks_have_as_many_decimals_each_and_a_true_minus():
    panel = figure_of([mark()]).panels[0]
    assert tick_texts([-2.0, -1.75], panel.y) == [f"{MINUS}2.00", f"{MINUS}1.75"]
    assert tick_texts([40, 60], panel.y) == ["40", "60"]
    assert tick_texts([1e12, 2e14], panel.x) == ["1T", "200T"]


@pytest.mark.parametrize(("value", "text"), [(1e7, "10M"), (1.5e9, "1.5B"), (100, "100"), (61e6, "61M")])
def test_round_numbers_lose_what_says_nothing(value, text):
    assert round_text(value, "count") == text
