"""Splits whose labels are not published."""

import json

import pytest

from scalecli.data.tasks.registry import find_tasks
from scalecli.data.tasks.task import load_task
from scalecli.strict import dump_yaml
from tests.data.tasks.originals import LAYOUTS, SPANS, WSC, in_dataset, read_examples, write


def test_test_sets_have_no_labels(tmp_path):
    write(tmp_path, "CoLA/test.tsv", "index\tsentence\n0\tBill whistled past the house.\n")
    write(tmp_path, "BoolQ/test.jsonl", json.dumps({"question": "q", "passage": "p", "idx": 8}))
    for task in find_tasks(["cola", "boolq"], str(tmp_path)):
        (example,) = read_examples(task, "test")
        assert example.target == "<unk>" and example.idx in (0, 8)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        ("stsb", {"sentence1": "A", "sentence2": "B", "label": -1.0}),
        ("cola", {"sentence": "A", "label": -1}),
        ("wsc", {**WSC, **SPANS, "label": -1}),
        ("record", {"passage": "P", "query": "Q", "entities": ["A"], "answers": [], "idx": {"passage": 1, "query": 2}}),
        ("multirc", {**LAYOUTS["multirc"][2][0], "label": -1}),
        ("ax", {"premise": "P", "hypothesis": "H", "label": -1}),
    ],
)
def test_test_splits_of_datasets_have_no_labels(tmp_path, name, row):
    in_dataset(tmp_path, name, [row], "test")
    (task,) = find_tasks([name], str(tmp_path))
    (example,) = read_examples(task, "test")
    assert not example.is_labeled


def test_a_test_split_of_mapped_labels_or_a_threshold_may_have_none(tmp_path):
    write(tmp_path, "test.jsonl", '{"text": "Hi"}\n{"text": "You", "toxicity": null}')
    values = {"name": "own", "input": ["text"], "target": "toxicity", "test": "test.jsonl"}
    for labels in ({"labels": {"a": "good", "b": "bad"}}, {"labels": ["good", "bad"], "threshold": 0.5}, {}):
        (tmp_path / "own.yaml").write_text(dump_yaml({**values, **labels}))
        assert [e.target for e in read_examples(load_task(tmp_path / "own.yaml"), "test")] == ["<unk>", "<unk>"]


def test_a_group_comes_with_its_diagnostic_sets_where_they_are(tmp_path):
    def names(split):
        return {task.name for task in find_tasks(["superglue"], str(tmp_path), split)} & {"axb", "axg"}

    assert names("test") == set()
    write(tmp_path, "superglue/AX-g/AX-g.jsonl", '{"premise": "P", "hypothesis": "H", "idx": 0}')
    assert names("test") == {"axg"} and names("validation") == names(None) == set()
