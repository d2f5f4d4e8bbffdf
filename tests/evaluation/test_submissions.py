"""The files of the GLUE and SuperGLUE servers: names, headers, and how each task's labels are written."""

import json
import zipfile

import pytest

from scalecli.data.tasks.registry import all_tasks
from scalecli.data.tasks.task import UNLABELED, Example
from scalecli.evaluation.submissions import FILES, submission, write_submissions


def examples(*idx, targets=None):
    return [Example("", targets[n] if targets else UNLABELED, n, idx=each) for n, each in enumerate(idx)]


@pytest.mark.parametrize(
    ("task", "predictions", "expected"),
    [
        ("cola", ["acceptable", "unacceptable"], ["1", "0"]),
        ("sst2", ["negative", " positive"], ["0", "1"]),
        ("mrpc", ["equivalent", "nonsense"], ["1", "0"]),
        ("qqp", ["duplicate", "not_duplicate"], ["1", "0"]),
        ("wnli", ["not_entailment", "entailment"], ["0", "1"]),
        ("mnli", ["neutral", "nonsense"], ["neutral", "entailment"]),
        ("ax", ["contradiction", "neutral"], ["contradiction", "neutral"]),
        ("qnli", ["not_entailment", "entailment"], ["not_entailment", "entailment"]),
        ("stsb", ["3.2", "many"], ["3.2", "0.0"]),
    ],
)
def test_glue(task, predictions, expected):
    lines = submission(all_tasks()[task], examples(0, 1), predictions).splitlines()
    assert lines == ["index\tprediction", *(f"{n}\t{label}" for n, label in enumerate(expected))]


@pytest.mark.parametrize(
    ("task", "predictions", "expected"),
    [
        ("boolq", ["True", "nonsense"], ["true", "false"]),
        ("cb", ["neutral", "contradiction"], ["neutral", "contradiction"]),
        ("copa", ["choice2", "choice1"], [1, 0]),
        ("superglue_rte", ["not_entailment", "entailment"], ["not_entailment", "entailment"]),
        ("wic", ["False", "True"], ["false", "true"]),
    ],
)
def test_superglue(task, predictions, expected):
    lines = submission(all_tasks()[task], examples(7, 9), predictions).splitlines()
    assert [json.loads(line) for line in lines] == [
        {"idx": idx, "label": label} for idx, label in zip((7, 9), expected, strict=True)
    ]


def test_wsc_says_whether_the_referent_was_named():
    rows = examples(0, 1, 2, targets=["the cat", "Bob", "Ann"])
    lines = submission(all_tasks()["wsc"], rows, ["cat", "Ann", ""]).splitlines()
    assert [json.loads(line)["label"] for line in lines] == ["True", "False", "False"]


def test_record_is_by_query():
    lines = submission(all_tasks()["record"], examples({"passage": 3, "query": 12}), ["Bhutto"]).splitlines()
    assert [json.loads(line) for line in lines] == [{"idx": 12, "label": "Bhutto"}]


def test_multirc_is_nested_as_its_paragraphs_are():
    idx = [{"paragraph": p, "question": q, "answer": a} for p, q, a in ((0, 0, 0), (0, 0, 1), (0, 1, 2), (4, 2, 3))]
    content = submission(all_tasks()["multirc"], examples(*idx), ["True", "False", "nonsense", "True"])
    assert [json.loads(line) for line in content.splitlines()] == [
        {
            "idx": 0,
            "passage": {
                "questions": [
                    {"idx": 0, "answers": [{"idx": 0, "label": 1}, {"idx": 1, "label": 0}]},
                    {"idx": 1, "answers": [{"idx": 2, "label": 0}]},
                ]
            },
        },
        {"idx": 4, "passage": {"questions": [{"idx": 2, "answers": [{"idx": 3, "label": 1}]}]}},
    ]


def test_zips_and_what_is_to_be_known_about_them(tmp_path):
    predicted = {
        name: (all_tasks()[name], examples(0, 1), predictions)
        for name, predictions in (("cola", ["acceptable", "x"]), ("mnli", ["neutral", "y"]), ("cb", ["neutral"] * 2))
    }
    notes = write_submissions(tmp_path, "-40", predicted)
    with zipfile.ZipFile(tmp_path / "glue-40.zip") as archive:
        assert archive.namelist() == ["CoLA.tsv", "MNLI-m.tsv"]
        assert archive.read("CoLA.tsv") == b"index\tprediction\n0\t1\n1\t0\n"
    with zipfile.ZipFile(tmp_path / "superglue-40.zip") as archive:
        assert archive.namelist() == ["CB.jsonl"]
    assert notes[0].startswith("glue-40.zip: 2 of 11 files, without SST-2.tsv, MRPC.tsv")
    assert "2 predictions are no label" in notes[0] and "0 predictions" in notes[1]
    first = (tmp_path / "glue-40.zip").read_bytes()
    write_submissions(tmp_path, "-40", predicted)
    assert (tmp_path / "glue-40.zip").read_bytes() == first
    assert write_submissions(tmp_path, "", {}) == []


def test_every_file_belongs_to_a_task_of_the_package():
    for benchmark, names in FILES.items():
        assert set(names) <= set(all_tasks()), benchmark
