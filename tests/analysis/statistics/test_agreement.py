from dataclasses import replace

import pytest
from scipy import stats

from scalecli.analysis.rows.sources import row_of_run
from scalecli.analysis.statistics.agreement import agreements
from tests.analysis.rows.synthetic import row, table_rows
from tests.analysis.runs import child_of, save_run
from tests.manifests import example_manifest


def by_group(rows):
    return {agreement.group: agreement for agreement in agreements(rows)}


def test_the_inversion_of_table_3():
    agreement = by_group(table_rows("scale-efficiently/table-3"))["scale-efficiently/table-3"]
    (pair,) = agreement.disagreements
    assert (pair.better_upstream.name, pair.better_downstream.name) == ("nl12-xxl", "nl32-xl")
    assert (pair.upstream, pair.downstream) == (pytest.approx(0.03), pytest.approx(2.2))
    assert (agreement.n, agreement.pairs, agreement.spearman) == (2, 1, None)


def test_scores_of_other_tables_are_not_compared():
    by_table = by_group(table_rows("scale-efficiently/table-3", "scale-efficiently/table-4", "architectures/table-1"))
    sizes = {group: (each.n, each.pairs) for group, each in by_table.items()}
    assert sizes == {
        "scale-efficiently/table-3": (2, 1),
        "scale-efficiently/table-4": (14, 91),
        "architectures/table-1": (54, 1431),
    }


def test_rank_correlations_and_pairs():
    qualities = [(-3.0, 50), (-2.5, 60), (-2.0, 55), (-1.5, 80)]
    (agreement,) = agreements([row(f"m{i}", upstream=up, downstream=down) for i, (up, down) in enumerate(qualities)])
    assert (agreement.spearman, agreement.kendall) == (pytest.approx(0.8), pytest.approx(4 / 6))
    (pair,) = agreement.disagreements
    assert (pair.better_upstream.name, pair.better_downstream.name) == ("m2", "m1")


def test_ties_are_no_disagreement_and_have_no_rank():
    rows = [row(name, upstream=-2.0, downstream=down) for name, down in (("a", 50.0), ("b", 60.0), ("c", 70.0))]
    (agreement,) = agreements(rows)
    assert (agreement.disagreements, agreement.spearman, agreement.kendall) == ([], None, None)


def test_the_clearest_pair_comes_first():
    qualities = {"a": (-2.0, 60), "b": (-1.9, 59), "c": (-1.0, 40)}
    (agreement,) = agreements([row(name, upstream=up, downstream=down) for name, (up, down) in qualities.items()])
    assert [
        (disagreement.better_upstream.name, disagreement.better_downstream.name)
        for disagreement in agreement.disagreements
    ] == [*(("c", "a"), ("c", "b"), ("b", "a"))]


def test_slopes_of_downstream_over_upstream_are_by_architecture():
    (agreement,) = agreements(table_rows("architectures/table-1"))
    slopes = {slope.group: slope for slope in agreement.slopes}
    assert slopes["transformer"].slope == pytest.approx(20.5, abs=0.1)
    assert slopes["transformer"].published.value == 0.49
    assert slopes["albert"].reason == "a line needs 4 models"


def test_runs_whose_upstream_is_of_other_texts_are_apart(tmp_path):
    rows = []
    for text in ("x", "y"):
        data = replace(example_manifest().data, name=f"{text}.txt", identity=f"sha256:{text}")
        pretrained = save_run(tmp_path / text / "p", data=data)
        for name in ("a", "b"):
            directory = save_run(tmp_path / text / name, **child_of(pretrained, "../p"))
            rows.append(row_of_run(directory, "forward"))
    assert [agreement.n for agreement in agreements(rows)] == [2, 2]
    assert [agreement.group.split(":")[0] for agreement in agreements(rows)] == ["run", "run"]
    assert [agreement.group for agreement in agreements(rows[:2])] == ["run"]


def test_rank_correlations_are_scipys_where_models_tie():
    upstream, downstream = [-3.0, -2.5, -2.5, -2.0, -1.5, -1.5], [50, 50, 60, 55, 80, 55]
    (agreement,) = agreements(
        [
            row(f"m{i}", upstream=up, downstream=down)
            for i, (up, down) in enumerate(zip(upstream, downstream, strict=True))
        ]
    )
    assert agreement.spearman == pytest.approx(stats.spearmanr(upstream, downstream)[0], rel=1e-12)
    assert agreement.kendall == pytest.approx(stats.kendalltau(upstream, downstream)[0], rel=1e-12)


def test_models_that_saw_more_data_are_ranked_apart():
    rows = [
        row(f"{tokens}-{index}", upstream=-3.0 + 0.1 * index, downstream=60.0 - index, tokens=tokens)
        for tokens in (1000, 2000)
        for index in range(3)
    ]
    apart = agreements(rows)
    assert [(agreement.group, agreement.n, len(agreement.disagreements)) for agreement in apart] == [
        ("made-up: 1,000 tokens", 3, 3),
        ("made-up: 2,000 tokens", 3, 3),
    ]
