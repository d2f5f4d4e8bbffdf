import csv

import pytest

from scalecli.analysis.plots.files import points_csv, write_plot
from scalecli.errors import ScalecliError, UsageError
from tests.analysis.plots.figures import figure_of, mark


@pytest.fixture
def figure():
    noted = mark("b, c", x=2e12, y=60.25, parameters=10**8, is_efficient=True, note="otherwise 3T")
    return figure_of([mark("a"), noted])


@pytest.mark.parametrize(
    ("name", "start"),
    [("a.png", b"\x89PNG"), ("a.svg", b"<?xml"), ("a.pdf", b"%PDF"), ("a.html", b"<!DOCTYPE"), ("a.PNG", b"\x89PNG")],
)
def test_the_suffix_says_the_form_and_the_points_lie_beside(tmp_path, figure, name, start):
    path = tmp_path / "new" / name
    assert write_plot(str(path), figure) == [str(path), str(path.with_suffix(".csv"))]
    assert path.read_bytes().startswith(start)
    assert path.with_suffix(".csv").read_text() == points_csv(figure)


def test_points_have_all_digits_and_full_names(figure):
    one, other = csv.DictReader(points_csv(figure).splitlines())
    assert (one["name"], one["parameters"], one["is_efficient"], one["note"]) == ("a", "", "False", "")
    assert (other["name"], other["cost"], float(other["x"]), other["quality"], float(other["y"])) == (
        *("b, c", "flops", 2e12),
        *("score", 60.25),
    )
    assert (other["parameters"], other["is_efficient"], other["note"]) == ("100000000", "True", "otherwise 3T")


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.csv", ".png"])
def test_other_suffixes_are_refused(tmp_path, figure, name):
    with pytest.raises(UsageError, match=r"ends in \.png, \.svg, \.pdf, \.html"):
        write_plot(str(tmp_path / name), figure)
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_can_not_be_written_is_one_line(tmp_path, figure):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScalecliError, match="cannot be written"):
        write_plot(str(tmp_path / "file" / "a.svg"), figure)
