import pytest

from scalecli.cli.output.text_tables import TextColumn, table_lines, text_width

NAMES = TextColumn("Name", ["small", "base-nl36"])
NUMBERS = [TextColumn(f"Figure {index}", [f"{index}.5", "100"], is_right=True) for index in range(5)]
LONG = TextColumn("Note", ["a note of several words that is long", ""])


def test_as_wide_as_it_is_where_there_is_no_width():
    assert table_lines([NAMES, NUMBERS[0], LONG]) == [
        "Name       Figure 0  Note",
        "─────────────────────────────────────────────────────────",
        "small           0.5  a note of several words that is long",
        "base-nl36       100",
    ]


def test_without_titles_there_are_only_the_rows():
    columns = [TextColumn("", ["Name", "Parameters"]), TextColumn("", ["small", "61M"])]
    assert table_lines(columns) == ["Name        small", "Parameters  61M"]
    assert table_lines([TextColumn("Name", [])]) == ["Name", "────"]


def test_long_texts_are_broken_between_words():
    assert table_lines([NAMES, NUMBERS[0], LONG], 46) == [
        "Name       Figure 0  Note",
        "──────────────────────────────────────────────",
        "small           0.5  a note of several words",
        "                     that is long",
        "base-nl36       100",
    ]


def test_too_many_columns_go_on_below_with_the_first_one_again():
    assert table_lines([NAMES, *NUMBERS], 40) == [
        "Name       Figure 0  Figure 1  Figure 2",
        "───────────────────────────────────────",
        "small           0.5       1.5       2.5",
        "base-nl36       100       100       100",
        "",
        "Name       Figure 3  Figure 4",
        "─────────────────────────────",
        "small           3.5       4.5",
        "base-nl36       100       100",
    ]


@pytest.mark.parametrize("width", [12, 20, 33, 47, 60, 80])
def test_no_line_is_wider_and_nothing_is_lost(width):
    wide = TextColumn("日本語の題", ["漢字" * 20, "e\u0301" * 30])
    columns = [NAMES, *NUMBERS, LONG, wide]
    lines = table_lines(columns, width)
    assert max(map(text_width, lines)) <= width
    shown = "".join("".join(lines).split())
    for text in ("small", "4.5"):
        assert text in shown
    for sign in "漢字":
        assert shown.count(sign) == 20
    assert shown.count("e\u0301") == 30


def test_the_style_is_given_each_cell_and_changes_no_width():
    lines = table_lines([NAMES, NUMBERS[0]], style=lambda row, column, text: f"<{row}{column}:{text}>")
    assert lines[2:] == ["<00:small>           <01:0.5>", "<10:base-nl36>       <11:100>"]
