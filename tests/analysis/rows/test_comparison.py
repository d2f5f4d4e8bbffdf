import pytest

from scalecli.analysis.papers.published import published_models
from scalecli.analysis.rows.comparison import best_cells, column_keys, downstream_score, efficient_rows, lower_is_better
from scalecli.analysis.rows.sources import row_of_published, row_of_run
from scalecli.errors import ConfigurationError
from scalecli.manifest import Best
from tests.analysis.runs import as_papers, save_run

# One forward pass of small over 128 x 512 x 114 and over the papers' batch, which print 3.70e12.
FORWARD, PAPER = 4_533_478_490_112, 3_694_433_140_736


def published(*names):
    return [row_of_published(published_models()[name]) for name in names]


def test_a_run_gives_its_best_step(tmp_path):
    results = {100: {"sst2/accuracy": 80.0}, 200: {"sst2/accuracy": 78.0}}
    best = Best(step=100, rule="highest sst2/accuracy")
    row = row_of_run(save_run(tmp_path / "best", results=results, best=best), "forward")
    assert row.downstream == 80.0
    assert row.value("sst2/accuracy") == 80.0
    assert row_of_run(save_run(tmp_path / "last", results=results, best=None), "forward").downstream == 78.0


def test_a_run_without_results_has_none(tmp_path):
    row = row_of_run(save_run(tmp_path / "run", results={}, best=None, throughput=None), "forward")
    assert (row.upstream, row.downstream, row.steps_per_s) == (None, None, None)


def test_a_run_s_figures(tmp_path):
    row = row_of_run(save_run(tmp_path / "first"), "forward")
    assert (row.name, row.source, row.architecture, row.parameters) == ("first", "run", "transformer", 15_570_688)
    assert (row.upstream, row.downstream, row.steps_per_s) == (-4.25, None, 2.5)


@pytest.mark.parametrize(("convention", "flops"), [("forward", FORWARD), ("paper", PAPER)])
def test_a_run_s_flops_are_of_the_table_s_batch_and_not_of_its_own(tmp_path, convention, flops):
    for batch in (8, 32):
        row = row_of_run(save_run(tmp_path / "small", "small", batch=batch), convention)
        assert (row.parameters, row.flops, row.flops_convention) == (60_506_624, flops, convention)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "hyena"}, "no architecture 'hyena'; there are albert, dconv, evolved"),
        ({"shape": {"d_model": 256}}, "shape: the shape lacks encoder_layers"),
    ],
)
def test_what_this_version_cannot_build_is_named_with_its_file(tmp_path, changes, message):
    run = save_run(tmp_path / "run", **changes)
    with pytest.raises(ConfigurationError) as error:
        row_of_run(run, "forward")
    assert str(error.value).startswith(f"{run}/run.yaml: {message}")


def test_downstream_is_the_mean_over_tasks_of_the_mean_over_metrics():
    results = {
        **{"mrpc/f1": 90.0, "mrpc/accuracy": 80.0, "sst2/accuracy": 75.0},
        **{"sst2/loss": 0.3, "sst2/cross_entropy": 0.2, "validation/accuracy": 50.0, "loss": 3.0},
        **{"text/perplexity": 12.0, "text/negative_log_perplexity": -2.5},
    }
    assert downstream_score(results) == pytest.approx((85 + 75) / 2)
    assert downstream_score({"validation/negative_log_perplexity": -2.0}) is None


def test_directions():
    lower = [
        key for key in ("parameters", "flops", "a/loss", "a/perplexity", "a/cross_entropy") if lower_is_better(key)
    ]
    assert len(lower) == 5
    for key in ("steps_per_s", "upstream", "downstream", "validation/negative_log_perplexity", "sst2/accuracy"):
        assert not lower_is_better(key)


def test_the_best_cells_need_something_worse():
    rows = published("small", "small-el32", "small-nl24", "nl12-xxl")
    keys = ["name", "parameters", "flops", "steps_per_s", "upstream", "glue"]
    best = {(0, "parameters"), (0, "flops"), (0, "steps_per_s"), (3, "upstream"), (3, "glue")}
    assert best_cells(rows, keys) == best
    assert best_cells(rows[:3], ["flops"]) == {(0, "flops")}
    assert best_cells([*rows[:1], *rows[:2]], ["glue"]) == {(2, "glue")}
    assert best_cells([*rows[1:3], *rows[1:2]], ["glue"]) == {(1, "glue")}
    assert best_cells(rows[1:3], ["flops"]) == set()
    assert best_cells(rows[:1], keys) == set()


def test_a_run_and_published_models_are_marked_together(tmp_path):
    run = save_run(tmp_path / "run", "small", **as_papers())
    rows = [*published("small", "base"), row_of_run(run, "paper")]
    assert best_cells(rows, ["flops", "upstream"]) == {(2, "flops"), (1, "upstream")}
    assert efficient_rows(rows, "flops", "upstream") == [True, True, True]
    worse = {300: {"validation/negative_log_perplexity": -4.25}}
    dominated = row_of_run(save_run(tmp_path / "base", "base", results=worse, **as_papers()), "paper")
    assert efficient_rows([*published("small"), dominated], "flops", "upstream") == [True, False]


def test_speeds_on_other_chips_and_flops_of_other_batches_are_not_marked_against_each_other(tmp_path):
    rows = published("small", "xxl", "base", "xl-nl32", "xl", "large-nl36")
    assert best_cells(rows, ["steps_per_s"]) == {(0, "steps_per_s"), (3, "steps_per_s")}
    # xl alone is of 64 sequences, and 64T of that would be a lie beside 50T of 128.
    assert efficient_rows(rows, "flops", "upstream") == [True, True, True, True, False, True]
    assert efficient_rows(rows, "parameters", "upstream") == [True, True, True, False, True, True]
    assert efficient_rows(rows, "steps_per_s", "downstream") == [True, False, True, True, False, True]
    assert efficient_rows(rows[4:5], "flops", "upstream") == [True]
    of_64 = published("transformer-xl", "evolved-xl", "funnel-xl", "small")
    assert efficient_rows(of_64, "flops", "upstream") == [True, False, True, False]
    assert best_cells(of_64, ["flops"]) == {(2, "flops")}
    run = row_of_run(save_run(tmp_path / "run", "small"), "paper")
    assert best_cells([run, *published("small")], ["steps_per_s"]) == set()
    images = published("vit-s", "vit-b", "small", "base")
    assert best_cells(images, ["flops"]) == {(0, "flops"), (2, "flops")}


def test_traits_are_neither_better_nor_worse():
    rows = published("nl12-xxl", "nl32-xl")
    assert best_cells(rows, ["heads", "encoder_layers", "chips", "flops_sequences", "source"]) == set()
    assert [row.value("heads") for row in rows] == [128, 32]
    assert column_keys(rows)[-6:] == ["encoder_layers", "decoder_layers", "d_model", "d_ff", "d_kv", "heads"]


def test_a_published_row_has_its_findings():
    (row,) = published("nl12-xxl")
    assert [finding.other for finding in row.findings] == ["5.67B"]
    assert (row.table, row.flops_sequences, row.chips) == ("table-3", 128, None)


def test_the_frontier_of_scale_efficiently():
    rows = published("base", "small-nl16", "small-nl22", "small-nl24", "small-el32")
    assert efficient_rows(rows, "flops", "downstream") == [False, True, True, True, False]
    # Speed as a cost: the slower, the costlier.
    assert efficient_rows(rows, "steps_per_s", "downstream") == [False, True, False, True, True]


def test_columns_are_the_fixed_ones_and_all_results(tmp_path):
    keys = column_keys([*published("small"), row_of_run(save_run(tmp_path / "run"), "paper")])
    assert keys[:4] == ["name", "source", "table", "architecture"]
    assert {"glue", "squad", "superglue", "validation/unigram_cross_entropy"} < set(keys)
    assert "results" not in keys


def test_equal_best_figures_are_all_marked():
    rows = published("small-nl20", "small-nl22", "base-nl36", "small-nl16")
    assert best_cells(rows[:2] + rows[3:], ["upstream"]) == {(0, "upstream"), (1, "upstream")}
