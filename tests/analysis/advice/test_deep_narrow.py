import pytest

from scalecli.analysis.advice.deep_narrow import alternatives
from scalecli.analysis.rows.sources import row_of_run
from scalecli.architectures import build_spec
from scalecli.shape import parse_name
from tests.analysis.rows.synthetic import table_rows
from tests.analysis.runs import child_of, save_run

TABLE_4 = "scale-efficiently/table-4"


def alternatives_by_model(rows, cost="flops", quality="downstream"):
    pairs = {}
    for alternative in alternatives(rows, cost, quality):
        pairs.setdefault(alternative.instead_of, []).append(alternative)
    return pairs


def runs(directory, figures):
    """Runs by the names of their shapes, each with an upstream figure."""
    rows = []
    for name, upstream in figures.items():
        results = {300: {"validation/negative_log_perplexity": upstream}}
        path = save_run(directory / name, shape=parse_name(name).to_dict(), results=results, best=None)
        rows.append(row_of_run(path, "forward"))
    return rows


def test_the_alternatives_that_the_paper_names():
    base = alternatives_by_model(table_rows(TABLE_4))["base"]
    assert [alternative.model for alternative in base] == ["small-nl20", "small-nl22", "small-nl24", "small-el32"]
    assert base[2].change == pytest.approx(-1 / 11) and base[2].difference == pytest.approx(0.76)
    large = alternatives_by_model(table_rows(TABLE_4))["large"]
    assert [(alternative.model, alternative.difference) for alternative in large] == [
        ("base-nl36", pytest.approx(0.02))
    ]


def test_of_a_speed_more_is_better():
    xl = alternatives_by_model(table_rows(TABLE_4), "steps_per_s")["xl"]
    assert [(alternative.model, alternative.change) for alternative in xl] == [("large-nl36", 1.0)]


def test_figures_of_other_batches_are_not_set_against_each_other():
    assert "xl" not in alternatives_by_model(table_rows(TABLE_4), "flops")  # its FLOPs are of half as many sequences
    assert [alternative.model for alternative in alternatives_by_model(table_rows(TABLE_4), "parameters")["xl"]] == [
        "large-nl36"
    ]


def test_one_s_own_runs_that_speak_for_depth(tmp_path):
    rows = runs(tmp_path, {"tiny": -3.0, "small": -2.5, "tiny-nl16": -2.4, "base": -2.0})
    (trained,) = alternatives_by_model(rows, quality="upstream")["small"]
    assert (trained.model, trained.difference) == ("tiny-nl16", pytest.approx(0.1))
    assert trained.change == pytest.approx(rows[2].flops / rows[1].flops - 1) and trained.change < 0


def test_what_to_train_next_is_as_deep_as_the_cost_allows(tmp_path):
    rows = runs(tmp_path, {"tiny": -3.0, "small": -2.5, "base": -2.0})
    pairs = alternatives_by_model(rows, "parameters", "upstream")
    (next_one,) = pairs["base"]
    assert (next_one.model, next_one.difference) == ("small-nl28", None)
    assert next_one.cost < rows[2].parameters < _parameters("small-nl29")
    assert next_one.change == pytest.approx(next_one.cost / rows[2].parameters - 1)
    assert [alternative.model for alternative in pairs["small"]] == ["tiny-nl28"]
    assert "tiny" not in pairs


@pytest.mark.parametrize(
    "figures",
    [
        {"small": -2.5, "base": -2.6},  # base is dominated anyway
        {"small": -2.5, "small-nl28": -2.4, "base": -2.0},  # the deepest is trained, and worse
        {"small": -2.5, "small-nl30": -2.4},  # neither is narrower
    ],
)
def test_nothing_is_suggested_that_is_known_or_useless(figures, tmp_path):
    assert alternatives(runs(tmp_path, figures), "parameters", "upstream") == []


def test_depth_ends_where_returns_diminish(tmp_path):
    pairs = alternatives_by_model(runs(tmp_path, {"small": -2.5, "xl": -1.5}), quality="upstream")
    assert [alternative.model for alternative in pairs["xl"]] == ["small-nl36"]


def test_costs_of_what_nobody_trained_are_not_guessed(tmp_path):
    assert alternatives(runs(tmp_path, {"small": -2.5, "base": -2.0}), "steps_per_s", "upstream") == []


def test_other_architectures_are_no_alternatives():
    for alternative in alternatives(table_rows("architectures/table-1"), "flops", "upstream"):
        assert alternative.instead_of.startswith(alternative.architecture)


def test_a_finetuned_run_does_not_count_twice(tmp_path):
    rows = runs(tmp_path, {"small": -2.5, "base": -2.0})
    tuned = save_run(tmp_path / "tuned", "base", **child_of(tmp_path / "base", "../base"))
    assert list(alternatives_by_model([*rows, row_of_run(tuned, "forward")], quality="upstream")) == ["base"]


def _parameters(name):
    return build_spec("transformer", parse_name(name)).parameters()
