from dataclasses import replace

import pytest

from scalecli.analysis.papers.published import published_models
from scalecli.data.tasks.registry import all_tasks, groups
from scalecli.evaluation.aggregates import aggregates, average


def scores(*names, value=50.0):
    return {name: dict.fromkeys(all_tasks()[name].metrics, value) for name in names}


def measured(group):
    return [name for name in groups()[group] if all_tasks()[name].has("validation")]


@pytest.mark.parametrize("name", ["small", "mini-nl8", "base", "small-nl24", "large-nl36", "xxl", "xl-nl32"])
def test_the_average_of_table_4_is_the_mean_of_its_three_columns(name):
    row = published_models()[name]
    found = average({"glue": row.results["glue"], "superglue": row.results["superglue"], "squad": row.results["squad"]})
    assert found == pytest.approx(row.average, abs=0.0301)


def test_metrics_are_averaged_first_then_the_halves_of_mnli_then_tasks():
    found = scores(*measured("glue"), value=40.0)
    found["mrpc"] = {"f1": 90.0, "accuracy": 70.0}
    found["mnli"], found["mnli_mismatched"] = {"accuracy": 60.0}, {"accuracy": 80.0}
    result = aggregates(found, [])
    assert result["glue"] == result["mean_over_tasks"] == pytest.approx((80 + 70 + 6 * 40) / 8)
    assert set(result) == {"glue", "mean_over_tasks"}


def test_an_average_that_lacks_a_task_is_none():
    names = measured("glue")
    assert set(aggregates(scores(*names[1:]), [])) == {"mean_over_tasks"}
    assert aggregates({}, []) == {} == aggregates({"ax": {}}, [])


def test_the_papers_average_takes_all_three():
    every = [name for group in ("glue", "superglue", "squad") for name in measured(group)]
    assert "dpr" not in every and len(every) == 18  # 17 tasks, of which MNLI has two halves
    found = scores(*every)
    found["squad"] = {"exact_match": 70.0, "token_f1": 90.0}
    result = aggregates(found, [])
    assert result == pytest.approx(
        {"glue": 50, "superglue": 50, "squad": 80, "average": 60, "mean_over_tasks": (16 * 50 + 80) / 17}
    )


def test_tasks_of_the_user_count_too():
    half = replace(all_tasks()["sst2"], name="second", scored_with="sst2")
    found = {"sst2": {"accuracy": 60.0}, "second": {"accuracy": 80.0}, "cola": {"matthews": 10.0}}
    assert aggregates(found, [half])["mean_over_tasks"] == pytest.approx((70 + 10) / 2)


def test_diagnostic_sets_count_in_no_average():
    found = {**scores("rte", value=60.0), **scores("axb", value=10.0)}
    assert aggregates(found, []) == {"mean_over_tasks": 60.0}
    assert aggregates(scores("axb"), []) == {}
