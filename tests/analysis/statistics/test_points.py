from dataclasses import replace

import pytest

from scalecli.analysis.rows.sources import row_of_run
from scalecli.analysis.statistics.points import check_by, groups, points, shape_of
from scalecli.errors import UsageError
from scalecli.shape import parse_name
from tests.analysis.rows.synthetic import row, table_rows
from tests.analysis.runs import child_of, save_run
from tests.manifests import example_manifest

TABLE_4 = "scale-efficiently/table-4"


def labels(all_points):
    return {group: [point.row.name for point in members] for group, members in groups(all_points).items()}


def test_a_point_has_both_figures_and_says_what_they_are_of():
    rows = [row("a", flops=3.0, upstream=-2.0), row("b", flops=4.0), row("c", flops=float("nan"), upstream=-1.0)]
    (point,) = points(rows, "flops", "upstream")
    assert (point.row.name, point.group, point.cost, point.quality) == ("a", "transformer", 3.0, -2.0)
    assert (point.row.source, point.row.architecture, point.row.parameters) == ("made-up", "transformer", None)
    other = points([row("d", flops=5.0, upstream=-1.0, flops_sequences=64)], "flops", "upstream")[0]
    assert point.measured_on != other.measured_on


def test_architectures_are_apart_and_so_are_tables():
    one = points(table_rows("architectures/table-1"), "flops", "upstream")
    assert len(groups(one)) == 12
    both = labels(points(table_rows("architectures/table-1", TABLE_4), "flops", "upstream"))
    assert both["transformer (architectures/table-1)"][0] == "transformer-tiny"
    assert both["transformer (scale-efficiently/table-4)"][0] == "small"


def test_runs_of_other_texts_are_apart_where_upstream_is_looked_at(tmp_path):
    runs = [row_of_run(save_run(tmp_path / name), "forward") for name in ("a", "b")]
    data = replace(example_manifest().data, name="other.txt", identity="sha256:11")
    other = save_run(tmp_path / "c", data=data)
    rows = [*runs, row_of_run(other, "forward")]
    assert list(labels(points(rows, "flops", "steps_per_s"))) == ["transformer"]
    first, second = labels(points(rows, "flops", "upstream")).items()
    assert first[1] == ["a", "b"] and "train.txt" in first[0]
    assert second[1] == ["c"] and "other.txt" in second[0]


def test_the_knobs_of_table_4():
    series = labels(points(table_rows(TABLE_4), "flops", "upstream", "knob"))
    assert series == {
        "NL from small": ["small", "small-nl16", "small-nl20", "small-nl22", "small-nl24"],
        "NL from base": ["base", "base-nl36"],
        "NL from large": ["large", "large-nl36"],
        "NL from xl": ["xl", "xl-nl32"],
        "EL": ["small", "small-el32"],
    }
    assert labels(points(table_rows(TABLE_4), "flops", "upstream", "el")) == {"EL": ["small", "small-el32"]}


def test_pairs_across_two_series_are_no_series():
    names = ["base", "base-nl4", "base-nl24", "base-el4", "base-el24", "base-dl4", "base-dl24", "base-kv32"]
    rows = [row(name, flops=1.0, upstream=-1.0) for name in names]
    assert labels(points(rows, "flops", "upstream", "knob")) == {
        "NL": ["base", "base-nl4", "base-nl24"],
        "EL": ["base", "base-el4", "base-el24"],
        "DL": ["base", "base-dl4", "base-dl24"],
        "KV": ["base", "base-kv32"],
    }
    pair = [each for each in rows if each.name in ("base-nl4", "base-dl4")]
    assert labels(points(pair, "flops", "upstream", "knob")) == {"EL": ["base-nl4", "base-dl4"]}


def test_the_knobs_of_sizes_that_are_no_presets(tmp_path):
    names = [
        "base-dm32-ff64-kv8-nl2",
        "base-dm32-ff64-kv8-nl4",
        "base-dm32-ff128-kv8-nl2",
        "base-dm32-ff64-kv8-nl2-el3",
    ]
    rows = []
    for name in names:
        directory = save_run(tmp_path / name, shape=parse_name(name).to_dict())
        rows.append(row_of_run(directory, "forward"))
    assert labels(points(rows, "parameters", "upstream", "knob")) == {
        "NL": [names[0], names[1]],
        "EL": [names[0], names[3]],
        "FF": [names[0], names[2]],
    }


def test_stacks_of_other_depths_are_no_series_of_layers(tmp_path):
    deep = [save_run(tmp_path / name, shape=parse_name(name).to_dict()) for name in ("tiny-el2-dl3", "tiny-el3-dl2")]
    assert points([row_of_run(run, "forward") for run in deep], "flops", "upstream", "nl") == []


def test_shapes_are_those_of_manifests_and_of_published_names(tmp_path):
    assert shape_of(row_of_run(save_run(tmp_path / "x", "mini"), "forward")) == parse_name("mini")
    switch = table_rows("architectures/table-4")[2]
    assert shape_of(switch) == parse_name("base", "switch")
    assert shape_of(row("anything")) is None
    vision = table_rows("scale-efficiently/table-5")
    assert [shape_of(each).encoder_layers for each in vision] == [8, 12, 24, 28]


def test_one_pretraining_counts_once_for_upstream(tmp_path):
    pretrained = save_run(tmp_path / "p")
    tuned = [save_run(tmp_path / name, **child_of(pretrained, "../p")) for name in ("t1", "t2")]
    rows = [row_of_run(each, "forward") for each in (*tuned, pretrained)]
    assert [point.row.name for point in points(rows, "parameters", "upstream")] == ["p"]
    assert [point.row.name for point in points(rows[:2], "parameters", "upstream")] == ["t1"]
    assert [point.row.name for point in points(rows, "parameters", "downstream")] == ["t1", "t2"]


def test_what_comes_twice_counts_once(tmp_path):
    tuned = save_run(tmp_path / "t", **child_of(save_run(tmp_path / "p"), "../p"))
    rows = [row_of_run(path, "forward") for path in (tuned, f"{tuned}/run.yaml", tuned)]
    assert len(points(rows, "parameters", "downstream")) == 1
    assert len(points([*table_rows(TABLE_4), *table_rows(TABLE_4)], "flops", "glue")) == 14


def test_what_points_can_be_grouped_by():
    assert [check_by(by) for by in ("architecture", "Knob", "NL", "ff")] == ["architecture", "knob", "nl", "ff"]
    with pytest.raises(UsageError, match=r"--by architectur: architecture, knob, NL, .* are accepted"):
        check_by("architectur")
