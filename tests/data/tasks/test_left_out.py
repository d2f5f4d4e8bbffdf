"""Rows that make no example are counted."""

import json
from collections import Counter

import pytest

from scalecli.data.sources import Remarks
from scalecli.data.tasks.examples import iterate_examples
from scalecli.data.tasks.registry import find_tasks
from scalecli.data.tasks.task import Task, load_task
from scalecli.errors import ConfigurationError
from scalecli.strict import dump_yaml
from tests.data.tasks.originals import SPANS, WSC, in_dataset, read_examples, write


def test_broken_lines_are_counted_where_the_task_says_so(tmp_path):
    lines = [
        "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate",
        "1\t2\t3\tA?\tB?\t1",
        "4\t5\t6\tC?\tD",
        "?\t0",
        "7\t8\t9\tE?\tF?\t0",
    ]
    write(tmp_path, "QQP/train.tsv", "\n".join(lines))
    (task,) = find_tasks(["qqp"], str(tmp_path))
    skipped = Counter()
    found = [example.target for example in iterate_examples(task, "train", skipped)]
    assert found == ["duplicate", "not_duplicate"]
    assert skipped == {"not as many columns as the header": 2}


def test_rows_of_empty_fields_are_counted_and_keep_the_numbers_of_the_others(tmp_path):
    write(tmp_path, "SST-2/dev.tsv", "sentence\tlabel\nA\t1\n\t\nB\t0\n")
    (task,) = find_tasks(["sst2"], str(tmp_path))
    skipped = Counter()
    assert [(e.idx, e.target) for e in iterate_examples(task, "validation", skipped)] == [
        (0, "positive"),
        (2, "negative"),
    ]
    assert skipped == {"all fields are empty": 1}


def test_lone_surrogates_are_replaced_and_counted(tmp_path):
    write(tmp_path, "CB/val.jsonl", '{"premise": "p \\ud83d", "hypothesis": "h", "label": "neutral", "idx": 0}\n')
    (task,) = find_tasks(["cb"], str(tmp_path))
    remarks = Remarks()
    (example,) = iterate_examples(task, "validation", remarks=remarks)
    assert example.input == "cb hypothesis: h premise: p \ufffd"
    assert remarks.lines() == [
        f"records with lone surrogates, replaced by U+FFFD: 1, the first at {tmp_path / 'CB/val.jsonl'}:1"
    ]


def test_rows_without_a_label_are_counted(tmp_path):
    rows = [{"sentence": "A", "label": 1}, {"sentence": "B", "label": -1}]
    in_dataset(tmp_path, "sst2", rows)
    (task,) = find_tasks(["sst2"], str(tmp_path))
    skipped = Counter()
    assert [example.input for example in iterate_examples(task, "validation", skipped)] == ["sst2 sentence: A"]
    assert skipped == {"no label": 1}


SNLI = [
    {"premise": "A man works.", "hypothesis": "Someone works.", "label": "entailment"},
    {"premise": "A man works.", "hypothesis": "It rains.", "label": "-"},
    {"premise": None, "hypothesis": "Nobody works.", "label": "contradiction"},
    {"premise": "A man works.", "hypothesis": "It snows.", "label": None},
    {"premise": "A man works.", "hypothesis": "No man works.", "label": "contradiction"},
]


def test_rows_with_null_or_a_label_to_skip_are_counted(tmp_path):
    write(tmp_path, "dev.jsonl", "\n".join(map(json.dumps, SNLI)))
    values = {"name": "snli", "input": ["hypothesis", "premise"], "target": "label", "validation": "dev.jsonl"}
    values["labels"] = ["entailment", "neutral", "contradiction"]
    (tmp_path / "strict.yaml").write_text(dump_yaml(values))
    with pytest.raises(ConfigurationError, match=r"dev\.jsonl:2: '-' is not a label of task snli.*skip_labels"):
        read_examples(load_task(tmp_path / "strict.yaml"), "validation")
    (tmp_path / "snli.yaml").write_text(dump_yaml({**values, "skip_labels": ["-"]}))
    task, skipped = load_task(tmp_path / "snli.yaml"), Counter()
    assert [example.target for example in iterate_examples(task, "validation", skipped)] == [
        "entailment",
        "contradiction",
    ]
    assert skipped == {"label '-', of skip_labels": 1, "premise is null": 1, "label is null": 1}
    assert Task.from_dict(task.to_dict(), None) == task


def test_negative_spans_of_wsc_are_counted_where_it_is_trained_on(tmp_path):
    rows = [{**WSC, "idx": n, "label": n == 1, "target": SPANS} for n in range(3)]
    write(tmp_path, "WSC/train.jsonl", "\n".join(map(json.dumps, rows)))
    (task,) = find_tasks(["wsc"], str(tmp_path))
    skipped = Counter()
    (example,) = iterate_examples(task, "train", skipped)
    assert example.idx == 1
    assert skipped == {"the span is not the pronoun's referent, and T5 trains on referents alone": 2}


@pytest.mark.parametrize("labels", [["no", "yes"], {"0": "no", "1": "yes"}])
def test_labels_of_a_table_with_gaps(tmp_path, labels):
    """Where a label misses, pandas makes its column one of floats."""
    write(tmp_path, "a.csv", "s,l\na,1.0\nb,0.0\nc,-1.0\n")
    write(tmp_path, "a.jsonl", '{"s": "a", "l": 1.0}\n{"s": "b", "l": 0.0}\n{"s": "c", "l": NaN}\n')
    for file, why in (("a.csv", "no label"), ("a.jsonl", "l is null")):
        values = {"name": "t", "input": "{s}", "target": "l", "labels": labels, "train": file}
        skipped = Counter()
        read = iterate_examples(Task.from_dict(values, str(tmp_path)), "train", skipped)
        assert [(example.input, example.target) for example in read] == [("a", "yes"), ("b", "no")]
        assert skipped == {why: 1}
    with pytest.raises(ConfigurationError, match=r"a\.csv:2: '1\.5' is not a label"):
        write(tmp_path, "a.csv", "s,l\na,1.5\n")
        read_examples(Task.from_dict({**values, "train": "a.csv"}, str(tmp_path)), "train")
