import re

import pytest

from scalecli.analysis.plots.build import cost_quality
from scalecli.analysis.plots.figure import Line
from scalecli.analysis.plots.terminal import terminal_plot
from tests.analysis.plots.figures import figure_of, mark, published_rows


@pytest.mark.parametrize("width", [40, 79, 80, 200])
def test_it_keeps_to_its_width_in_plain_ascii(width):
    figure = cost_quality(published_rows("architectures/table-1", "table-4"), ["flops"], ["upstream", "downstream"])
    text = terminal_plot(figure, width, color=False)
    assert text.isascii() and text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) <= width


def test_a_narrower_terminal_gets_the_narrowest_plot():
    figure = figure_of([mark("a")])
    assert terminal_plot(figure, 3, color=False) == terminal_plot(figure, 40, color=False)


def test_marks_stand_where_their_values_are():
    marks = [mark("low", x=1e12, y=10.0), mark("high", x=1e14, y=90.0, group="glu")]
    lines = terminal_plot(figure_of(marks), 60, color=False).splitlines()
    row = {name: next(index for index, line in enumerate(lines) if name in line) for name in ("low", "high")}
    assert row["high"] < row["low"]
    assert lines[row["low"]].index("o low") < 15 and re.search(r"high #$", lines[row["high"]])
    assert any("1T" in line and "100T" in line for line in lines)
    assert "o transformer   # glu" in lines


def test_lines_are_drawn_and_explained():
    line = Line("frontier", (1e12, 1e14, 1e14), (10.0, 10.0, 90.0))
    text = terminal_plot(figure_of([mark("a", y=10.0), mark("b", x=1e14, y=90.0)], [line]), 60, color=False)
    assert "......" in text and ". Pareto frontier" in text


def test_colors_come_only_when_asked_for_and_change_nothing_else():
    figure = figure_of([mark("a"), mark("b", x=2e12, group="glu")])
    plain, colored = (terminal_plot(figure, 60, color) for color in (False, True))
    assert "\033" not in plain and re.sub(r"\033\[\d+m", "", colored) == plain != colored


def test_names_do_not_drive_the_terminal():
    text = terminal_plot(figure_of([mark("a\033[2Jb\nc", group="g\033[1m")]), 60, color=False)
    assert "\033" not in text and "a [2Jb c" in text


def test_names_without_room_are_counted():
    marks = [mark(f"model-{index}", y=50.0 + index % 2) for index in range(100)]
    assert re.search(r"No room for \d\d names\.", terminal_plot(figure_of(marks), 60, color=False))
