import csv

import pytest


def test_a_plot_of_costs_and_qualities_with_its_points(compare, tmp_path):
    path = tmp_path / "figure.svg"
    code, out, err = compare("--published", "table-4", "--quality", "upstream,downstream", "--plot", str(path))
    assert code == 0 and "small-nl16" in out
    assert f"wrote {path}" in err and f"wrote {tmp_path}/figure.csv" in err
    points = list(csv.DictReader((tmp_path / "figure.csv").open()))
    assert len(points) == 28 and {point["quality"] for point in points} == {"upstream", "downstream"}


def test_fitted_lines_are_drawn(compare, tmp_path):
    path = tmp_path / "figure.html"
    code, _, _ = compare(
        "--published", "architectures/table-1", "--arch", "glu", "--fit", "flops:upstream", "--plot", str(path)
    )
    assert code == 0 and 'id="figure-0-line-1"' in path.read_text()


def test_a_dash_draws_in_the_terminal(compare):
    code, out, _ = compare("--published", "table-4", "--by", "knob", "--plot", "-")
    assert code == 0 and "one knob scaled at a time" in out and "o small-nl16" in out and "\033" not in out


@pytest.mark.parametrize("format", ["json", "csv", "yaml", "latex", "markdown"])
def test_it_does_not_spoil_what_programs_read(compare, format):
    code, out, err = compare("small", "base", "--plot", "-", "--format", format)
    assert (code, out) == (2, "") and "--format table" in err


def test_an_unknown_suffix_is_refused_before_anything_is_read(compare):
    code, out, err = compare("no-such-run", "--plot", "figure.jpg")
    assert (code, out) == (2, "") and "figure.jpg: a plot's name ends in .png, .svg, .pdf, .html" in err


def test_nothing_to_plot_is_said(compare, tmp_path):
    code, _, err = compare("small", "base", "--by", "nl", "--plot", str(tmp_path / "a.svg"))
    assert code == 2 and "nothing to plot" in err and list(tmp_path.iterdir()) == []
