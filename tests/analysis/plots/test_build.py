import pytest

from scalecli.analysis.plots.build import cost_quality
from scalecli.analysis.plots.figure import Line, with_lines
from scalecli.analysis.rows.sources import row_of_run
from scalecli.errors import UsageError
from tests.analysis.plots.figures import published_rows
from tests.analysis.runs import save_run


@pytest.fixture(scope="module")
def table_4():
    return published_rows("table-4")


def test_upstream_and_downstream_stand_side_by_side(table_4):
    figure = cost_quality(table_4, ["flops"], ["upstream", "downstream"])
    assert [(panel.x.key, panel.y.key) for panel in figure.panels] == [("flops", "upstream"), ("flops", "downstream")]
    assert (
        figure.columns == 2 and figure.title == "Quality against cost: 14 models" and figure.groups == ["transformer"]
    )
    upstream = figure.panels[0]
    assert upstream.title == "Upstream against FLOPs" and upstream.x.is_log and not upstream.y.is_log
    assert upstream.x.title == "FLOPs of one forward pass, log scale"
    assert upstream.y.title == "Negative log-perplexity (nats), higher is better"
    assert "convention paper" in figure.caption[0] and "128 x 512 inputs x 128 targets" in figure.caption[0]


def test_several_costs_and_qualities_make_a_grid(table_4):
    figure = cost_quality(table_4, ["flops", "parameters"], ["upstream", "downstream"])
    assert len(figure.panels) == 4 and figure.columns == 2
    assert cost_quality(table_4, ["flops", "parameters", "steps_per_s"], ["glue"]).columns == 3


def test_marks_are_the_models_with_what_is_the_matter_with_them(table_4):
    marks = {mark.name: mark for mark in cost_quality(table_4, ["flops"], ["upstream"]).panels[0].marks}
    base, xxl = marks["base"], marks["xxl"]
    assert (base.x, base.y, base.parameters, base.source) == (11e12, -1.752, 223_000_000, "scale-efficiently/table-4")
    assert base.label == "base" and base.note == ""
    assert xxl.label == "xxl†" and "500T" in xxl.note
    assert marks["small-nl16"].is_efficient and not marks["small-el32"].is_efficient


def test_the_frontier_is_a_staircase_to_the_costliest_model():
    rows = [row for row in published_rows("table-4") if row.name in ("small", "base", "small-el32", "base-nl36")]
    (line,) = cost_quality(rows, ["flops"], ["upstream"]).panels[0].lines
    assert line.kind == "frontier" and line.group is None
    corners = list(zip(line.xs, line.ys, strict=True))
    small, el32, base, nl36 = (3.7e12, -2.021), (10e12, -1.897), (11e12, -1.752), (29e12, -1.626)
    assert corners == [small, (10e12, -2.021), el32, (11e12, -1.897), base, (29e12, -1.752), nl36]


def test_of_speeds_the_frontier_goes_to_the_slowest(table_4):
    panel = cost_quality([row for row in table_4 if row.chips == 16], ["steps_per_s"], ["upstream"]).panels[0]
    (line,) = panel.lines
    assert line.xs[0] > line.xs[-1] and list(line.ys) == sorted(line.ys)
    assert panel.x.title.endswith("higher is cheaper")


def test_what_was_not_measured_alike_has_a_frontier_of_its_own(table_4):
    figure = cost_quality(table_4, ["steps_per_s"], ["upstream"])
    assert {line.label for line in figure.panels[0].lines} == {"16 chips", "64 chips"}
    assert any("frontiers of their own" in line for line in figure.caption)


def test_the_color_says_the_architecture_and_labels_do_not_repeat_it():
    figure = cost_quality(published_rows("architectures/table-1"), ["flops"], ["upstream"])
    assert len(figure.groups) == 12
    assert {mark.label for mark in figure.panels[0].marks if mark.group == "switch"} == {
        "tiny",
        "small",
        "base",
        "large",
        "xl†",
    }


def test_by_knob_lines_join_models_that_differ_in_it_alone(table_4):
    figure = cost_quality(table_4, ["flops"], ["upstream"], "knob")
    (panel,) = figure.panels
    lines = {line.group: line for line in panel.lines}
    assert {line.kind for line in panel.lines} == {"series"}
    assert lines["EL"].ys == (-2.021, -1.897)
    assert lines["NL from small"].xs == (3.7e12, 7.2e12, 8.6e12, 9.3e12, 10e12)
    groups = {mark.name: mark.group for mark in panel.marks}
    assert groups["small"] == "in several series" == figure.groups[-1] and groups["small-el32"] == "EL"
    assert "mini-nl8" not in groups and not any(mark.is_efficient for mark in panel.marks)
    assert figure.title == "Upstream against FLOPs, one knob scaled at a time: 12 models"


def test_models_of_one_cost_are_joined_through_their_mean(table_4):
    small = next(row for row in table_4 if row.name == "small")
    other_seed = type(small)(**{**vars(small), "upstream": -2.041})
    rows = [small, other_seed, *(row for row in table_4 if row.name == "small-nl24")]
    (line,) = cost_quality(rows, ["flops"], ["upstream"], "nl").panels[0].lines
    assert line.ys == pytest.approx((-2.031, -1.783), abs=0.002)


@pytest.mark.parametrize(("quality", "by"), [("squad", "nl"), ("imagenet_10shot", "architecture")])
def test_nothing_to_plot_is_said(quality, by):
    rows = [row for row in published_rows("table-4") if row.name in ("small", "base")]
    with pytest.raises(UsageError, match=f"nothing to plot: no models have both flops and {quality}"):
        cost_quality(rows, ["flops"], [quality], by)


def test_lines_are_laid_over_their_panel_alone(table_4):
    figure = cost_quality(table_4, ["flops"], ["upstream", "downstream"])
    fit = Line("fit", (1e12, 1e14), (-2.2, -1.4), "transformer", "0.54")
    upstream, downstream = with_lines(figure, "flops", "upstream", [fit]).panels
    assert upstream.lines[-1] == fit and fit not in downstream.lines


def test_a_model_has_one_color_in_all_panels():
    rows = published_rows("table-4", "table-6")  # which has no upstream figures
    figure = cost_quality(rows, ["flops"], ["upstream", "downstream"])
    first, second = ({mark.name: mark.group for mark in panel.marks} for panel in figure.panels)
    assert first == second and set(first.values()) == set(figure.groups)


def test_runs_have_the_same_color_where_only_some_figures_are_known(tmp_path):
    runs = [row_of_run(save_run(tmp_path / size, size), "paper") for size in ("tiny", "small")]
    figure = cost_quality([*runs, *published_rows("table-4")], ["flops"], ["upstream", "downstream"])
    assert figure.groups == ["transformer (run)", "transformer (scale-efficiently/table-4)"]
