"""Models that saw different amounts of data are not compared without a word, and what training took is a column."""

import pytest

from scalecli.analysis.papers.published import published_models
from scalecli.analysis.rows.comparison import best_cells, dominating_rows, efficient_rows
from scalecli.analysis.rows.sources import row_of_published, row_of_run
from scalecli.analysis.statistics.fits import LineFit, NoFit, fit_lines
from scalecli.analysis.statistics.points import groups, points
from scalecli.manifest import Best, Throughput
from scalecli.shape import parse_name
from tests.analysis.runs import child_of, image_data, save_run
from tests.documents import models
from tests.manifests import example_manifest

SIZES = ("tiny", "mini", "small", "base")
A_STEP = 32 * (128 + 28)  # tokens


def run(directory, name, figure, steps=300, size="tiny", **changes):
    results = {steps: {"validation/negative_log_perplexity": figure}}
    fields = {"results": results, "best": None, "steps": steps, "shape": parse_name(size).to_dict(), **changes}
    return save_run(directory / name, **fields)


def rows_of(paths):
    return [row_of_run(path, "forward") for path in paths]


def two_studies(directory):
    """Four sizes after 300 steps and after 6,000."""
    return [
        run(directory, f"{size}-{steps}", -5.0 + number * 0.1 + (steps > 300), steps, size)
        for steps in (300, 6000)
        for number, size in enumerate(SIZES)
    ]


def test_marks_compare_what_saw_as_much_data(tmp_path):
    short, long, cheap = rows_of(
        [run(tmp_path, "short", -5.0, size="small"), run(tmp_path, "long", -3.0, 6000), run(tmp_path, "cheap", -5.1)]
    )
    assert (short.seen, long.seen) == (f"{300 * A_STEP:,} tokens", f"{6000 * A_STEP:,} tokens")
    assert efficient_rows([short, long, cheap], "flops", "upstream") == [True, False, True]
    assert dominating_rows([short, long, cheap], "flops", "upstream") == [[], None, []]
    # Training FLOPs count the data: long took 20 times what cheap took, and short less than long.
    assert efficient_rows([short, long, cheap], "training_flops", "upstream") == [True, True, True]
    assert best_cells([short, long, cheap], ["upstream"]) == {(0, "upstream")}


def test_lines_go_through_what_saw_as_much_data(tmp_path):
    rows = rows_of(two_studies(tmp_path))
    drawn = points(rows, "flops", "upstream")
    assert {group: len(members) for group, members in groups(drawn).items()} == {
        f"transformer ({300 * A_STEP:,} tokens)": 4,
        f"transformer ({6000 * A_STEP:,} tokens)": 4,
    }
    short, long = fit_lines(drawn, "flops", "upstream")
    assert isinstance(short, LineFit) and short.slope == pytest.approx(long.slope)
    assert long.intercept - short.intercept == pytest.approx(1.0)
    assert len(groups(points(rows, "training_flops", "upstream"))) == 1
    assert len(groups(points(rows, "flops", "steps_per_s"))) == 1
    every_other = fit_lines(points(rows[:1] + rows[4:5], "flops", "upstream"), "flops", "upstream")
    assert all(isinstance(fit, NoFit) for fit in every_other)


def test_series_along_a_knob_saw_as_much_data(tmp_path):
    names = [("small", 300), ("small-nl8", 300), ("small-nl16", 6000)]
    rows = rows_of([run(tmp_path, f"{name}-{steps}", -3.0, steps, name) for name, steps in names])
    assert [
        [point.row.name for point in members] for members in groups(points(rows, "flops", "upstream", "nl")).values()
    ] == [["small-300", "small-nl8-300"]]


def test_which_step_was_best_tells_no_runs_apart_and_a_checkpoint_before_the_end_does(tmp_path):
    results = {step: {"validation/negative_log_perplexity": -4.0} for step in (200, 300)}
    best = save_run(tmp_path / "a", results=results, best=Best(step=200, rule="highest"))
    tuned = save_run(tmp_path / "tuned", **child_of(best, "../a", step=200))
    last = save_run(tmp_path / "b", results=results, best=None)
    early = save_run(tmp_path / "early", **child_of(last, "../b", step=200))
    gone = save_run(tmp_path / "gone", **child_of(last, "../nowhere", step=200))
    running = save_run(tmp_path / "c", status="running", steps=9000, results=results, best=None)
    seen = [row.seen for row in rows_of([best, tuned, last, early, gone, running])]
    whole, part = f"{300 * A_STEP:,} tokens", f"{200 * A_STEP:,} tokens"
    assert seen == [whole, whole, whole, part, None, whole]


def test_images_count_too(tmp_path):
    fields = {"architecture": "vit", "shape": parse_name("vit-s", "vit").to_dict(), "data": image_data()}
    row = row_of_run(save_run(tmp_path / "a", results={300: {"validation/accuracy": 70.0}}, **fields), "forward")
    assert (row.seen, row.tokens) == (f"{300 * 32:,} images", None)


def test_what_training_took(tmp_path):
    small = save_run(tmp_path / "a", "small", throughput=Throughput(steps_per_s=2.5, tokens_per_s=1.0))
    row = row_of_run(small, "forward")
    tuned = row_of_run(save_run(tmp_path / "tuned", "small", **child_of(small, "../a")), "forward")
    for each in (row, tuned):
        assert each.tokens == 300 * A_STEP
        assert each.tokens_per_parameter == pytest.approx(300 * A_STEP / 60_506_624)
        assert each.device_hours == pytest.approx(300 / 2.5 / 3600 * 2)  # no cores stated: two
    # By hand, per example of 128 inputs and 28 targets: projections of 512 x 512, feed-forward of 512 x 2048.
    tokens, d, ff = 128 + 28, 512, 2048
    encoder = 6 * (128 * (4 * d * d + 2 * d * ff) + 2 * 128 * 128 * d)
    decoder = 6 * (28 * (6 * d * d + 2 * d * ff) + 128 * 2 * d * d + 2 * 28 * 28 * d + 2 * 28 * 128 * d)
    logits = 28 * d * 32128
    assert row.training_flops == 3 * 2 * 300 * 32 * (encoder + decoder + logits)
    assert row_of_run(small, "paper").training_flops % (3 * 300 * 32) == 0
    assert tokens * 32 == A_STEP


def test_what_the_papers_training_took():
    row = row_of_published(published_models()["small"])
    assert row.tokens == 2**19 * 128 * (512 + 114)
    assert row.training_flops == pytest.approx(3 * 2**19 * 3.7e12)
    assert row.tokens_per_parameter == pytest.approx(2**19 * 128 * 626 / 61e6)
    assert row.device_hours == pytest.approx(2**19 / 23 * 16 / 3600)
    xl = row_of_published(published_models()["xl"])  # its FLOPs are of 64 sequences, its step of 128
    assert xl.training_flops == pytest.approx(3 * 2**19 * 64e12 * 2)


def test_it_is_said_once_which_models_saw_how_much(tmp_path, compare):
    paths = two_studies(tmp_path)
    code, out, err = compare(*paths, "--fit", "flops:upstream", "--pareto")
    amounts = [f"{steps * A_STEP:,} tokens" for steps in (300, 6000)]
    expected = "note: marks, fits and frontiers only compare models that saw as much data: "
    (line,) = [line for line in err.splitlines() if line.startswith(expected)]
    assert all(amount in line for amount in amounts) and code == 0
    assert all(f"transformer ({amount})" in out for amount in amounts)
    assert expected not in compare(*paths[:4])[2]
    assert expected not in compare(*paths, "--columns", "name,parameters,tokens", "--fit", "tokens:upstream")[2]
    columns = ("--columns", "training_flops,tokens,tokens_per_parameter,device_hours", "--format", "json")
    (shown,) = models(compare(paths[0], *columns)[1])
    assert shown["training_flops"] > 0 and shown["tokens"] == 300 * A_STEP


def test_it_is_said_once_where_only_some_have_scores(tmp_path, compare):
    paths = two_studies(tmp_path)
    tuned = [
        save_run(tmp_path / f"tuned{number}", **child_of(paths[index], paths[index], step=step))
        for number, (index, step) in enumerate(((0, 300), (-1, 6000)))
    ]
    err = compare(*paths, *tuned, "--columns", "name,upstream,downstream")[2]
    (line,) = [line for line in err.splitlines() if "saw as much data" in line]
    assert "and 2 more" in line


def test_the_example_is_what_these_tests_compute_with():
    data = example_manifest().data
    assert example_manifest().batch * (data.inputs_length + data.targets_length) == A_STEP
