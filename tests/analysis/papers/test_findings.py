import math
import statistics

import pytest

from scalecli.analysis.papers.findings import all_findings, findings_of, sequences_of
from scalecli.analysis.papers.published import published_models, published_tables
from scalecli.analysis.quantities import parse_quantity

ROWS = {model.path: model for rows in published_tables().values() for model in rows}


@pytest.mark.parametrize("finding", all_findings(), ids=lambda each: each.rows[0])
def test_a_finding_is_about_figures_that_are_printed_and_gives_another_one(finding):
    for pattern in finding.rows:
        concerned = [model for model in ROWS.values() if finding.concerns(model.path)]
        assert concerned, pattern
    for model in concerned:
        printed = {
            "parameters": model.parameters,
            "flops": model.flops,
            "steps_per_s": model.steps_per_s,
            **model.traits,
        }
        known = [key for key in finding.figures if printed.get(key) is not None]
        assert known, model.path
        if finding.other is not None:
            assert parse_quantity(finding.other) != pytest.approx(printed[known[0]], rel=0.015)
    assert finding.reason and finding.evidence


def test_every_pattern_finds_a_row():
    from fnmatch import fnmatchcase

    for finding in all_findings():
        for pattern in finding.rows:
            assert any(fnmatchcase(path, pattern) for path in ROWS), pattern


@pytest.mark.parametrize(
    ("path", "figure", "other"),
    [
        ("scale-efficiently/table-1/small", "d_kv", "64"),
        ("scale-efficiently/table-1/xxxl", "parameters", "33B"),
        ("scale-efficiently/table-3/nl12-xxl", "parameters", "5.67B"),
        ("scale-efficiently/table-4/xxl", "flops", "500T"),
        ("scale-efficiently/table-5/vit-s", "parameters", "36.1M"),
        ("architectures/table-4/large", "parameters", "3.9B"),
        ("architectures/table-1/glu-large", "parameters", "783M"),
    ],
)
def test_contradictions_and_what_is_said_elsewhere(path, figure, other):
    others = {finding.other for finding in findings_of(ROWS[path]) if figure in finding.figures}
    assert other in others


def test_rows_that_fit_have_no_finding():
    for name in ("small", "base", "small-nl24", "large", "xl-nl32", "switch-large", "albert-base", "funnel-large"):
        assert findings_of(published_models()[name]) == []


def test_what_figures_are_of():
    of_64 = {path for path, model in ROWS.items() if sequences_of(model) == 64}
    assert {"scale-efficiently/table-4/xl", "architectures/table-1/transformer-xl"} < of_64
    assert "scale-efficiently/table-4/xl-nl32" not in of_64 and "architectures/table-1/switch-xl" not in of_64
    assert all(path.endswith("xl") for path in of_64) and len(of_64) == 7
    assert sequences_of(published_models()["vit-s"]) == 1
    assert sequences_of(published_models()["small"]) == 128


def test_which_slopes_follow_from_table_1():
    for model in published_tables()["architectures/table-2"]:
        rows = [row for row in published_tables()["architectures/table-1"] if row.architecture == model.name]
        costs = [math.log10(row.flops) for row in rows]
        slope = statistics.linear_regression(costs, [row.upstream for row in rows]).slope
        follows = abs(slope - model.traits["flops_upstream"]) < 0.01
        assert follows == (model.name in ("transformer", "glu")) == (findings_of(model) == []), model.name


def test_a_finding_in_one_line():
    (finding,) = findings_of(ROWS["scale-efficiently/table-3/nl12-xxl"])
    assert finding.text() == "parameters, otherwise 5.67B: a model of the printed shape is larger"
