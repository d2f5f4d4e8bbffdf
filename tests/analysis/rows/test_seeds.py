import math
import shutil
import statistics

import pytest
import scipy.stats

from scalecli.analysis.rows.seeds import mean_over_seeds
from scalecli.analysis.rows.sources import row_of_run
from scalecli.manifest import Best
from tests.analysis.rows.synthetic import row
from tests.analysis.runs import child_of, save_run
from tests.documents import models

FIGURES = (-4.1, -4.3, -4.6)


@pytest.fixture
def study(tmp_path):
    """Three seeds of tiny, each with a finetuned run, and one of another size."""
    for seed, figure in enumerate(FIGURES):
        name = f"tiny-seed{seed}" if seed else "tiny"
        results = {300: {"validation/negative_log_perplexity": figure}}
        pretrained = save_run(tmp_path / name, seed=seed, results=results, best=None)
        child = {**child_of(pretrained, f"../{name}"), "results": {300: {"sst2/accuracy": 70.0 + seed}}}
        save_run(tmp_path / f"{name}-sst2", seed=seed, **child)
    save_run(tmp_path / "small", "small", results={300: {"validation/negative_log_perplexity": -3.9}}, best=None)
    return tmp_path


def test_mean_and_student_s_interval(study):
    rows = [row_of_run(str(path), "forward") for path in sorted(study.iterdir())]
    averaged = {row.name: row for row in mean_over_seeds(rows)}
    assert set(averaged) == {"tiny", "tiny-sst2", "small"}
    tiny, tuned = averaged["tiny"], averaged["tiny-sst2"]
    mean, error = statistics.fmean(FIGURES), statistics.stdev(FIGURES) / math.sqrt(3)
    assert (len(tiny.averaged), tiny.upstream) == (3, pytest.approx(mean))
    assert tiny.intervals["upstream"] == pytest.approx(scipy.stats.t.interval(0.95, 2, mean, error))
    assert (len(tuned.averaged), tuned.downstream, tuned.results["sst2/accuracy"]) == (3, 71.0, 71.0)
    assert tuned.upstream == pytest.approx(mean)
    assert (len(averaged["small"].averaged), averaged["small"].intervals) == (1, {})


def test_other_things_than_the_seed_keep_runs_apart_and_what_one_lacks_is_unknown(tmp_path):
    results = {300: {"validation/negative_log_perplexity": -4.0}}
    for seed, changes in enumerate(({}, {"batch": 64}, {"results": {300: {"sst2/accuracy": 80.0}}})):
        save_run(tmp_path / f"run{seed}", **{"seed": seed, "results": results, "best": None, **changes})
    rows = [row_of_run(str(path), "forward") for path in sorted(tmp_path.iterdir())]
    first, other = mean_over_seeds([*rows[:2], row("published")])[:2]
    assert (first.upstream, other.upstream) == (-4.0, -4.0)
    assert mean_over_seeds([rows[0], rows[2]])[0].upstream is None
    assert mean_over_seeds([row("a"), row("a")])[1].name == "a"  # published rows have no seeds


def test_a_run_that_comes_twice_is_one_seed_and_costs_are_means(study):
    paths = sorted(path for path in study.iterdir() if path.name.startswith("tiny"))
    shutil.copytree(study / "tiny", study / "copy")
    once, twice = (
        mean_over_seeds([row_of_run(str(path), "forward") for path in listed])
        for listed in (paths, [*paths, study / "tiny", study / "copy"])
    )
    assert [len(row.averaged) for row in twice] == [3, 3]
    assert [row.intervals for row in twice] == [row.intervals for row in once]
    best = Best(step=200, rule="lowest")
    results = {step: {"validation/negative_log_perplexity": -4.0} for step in (200, 300)}
    early = row_of_run(save_run(study / "early", seed=7, results=results, best=best), "forward")
    late = row_of_run(str(study / "tiny"), "forward")
    (mean,) = mean_over_seeds([late, early])
    assert (late.tokens, early.tokens) == (300 * 32 * 156, 200 * 32 * 156)
    assert (mean.tokens, mean.training_flops) == (250 * 32 * 156, (late.training_flops + early.training_flops) / 2)
    assert set(mean.intervals) & {"tokens", "training_flops", "tokens_per_parameter"} == set()


def test_the_subcommand_shows_mean_and_interval(study, compare):
    out = compare(str(study / "*"), "--seeds", "mean", "--columns", "name,upstream")[1]
    lines = [line.split() for line in out.splitlines()]
    assert lines[0] == ["Name", "Seeds", "Upstream", "95%", "interval"]
    assert ["tiny", "3", "-4.333", "-4.958", "to", "-3.708"] in lines
    assert ["small", "1", "-3.9*", "-"] in lines
    rows = {
        model["name"]: model for model in models(compare(str(study / "*"), "--seeds", "mean", "--format", "json")[1])
    }
    assert (rows["tiny"]["seeds"], rows["small"]["upstream/low"]) == (3, None)
    assert rows["tiny"]["upstream/low"] == pytest.approx(-4.958, abs=1e-3)
    compare(str(study / "*"), "--seeds", "mean", "--report", str(study / "report"))
    assert "tiny-seed2/run.yaml" in (study / "report/report.md").read_text()
    alone = compare(str(study / "small"), "small", "--seeds", "mean")[2]
    assert "note: --seeds mean: no runs differ in their seed alone" in alone
