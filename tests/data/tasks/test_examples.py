"""Tasks' examples from original files and from TensorFlow datasets, and what is said of data that is damaged."""

import json

import pytest

from scalecli.data.tasks.examples import split_version
from scalecli.data.tasks.registry import all_tasks, find_tasks
from scalecli.data.tasks.task import load_task
from scalecli.errors import ConfigurationError, MissingError
from scalecli.strict import dump_yaml
from tests.data.tasks.originals import LAYOUTS, SQUAD, features_of, in_dataset, read_examples, write
from tests.datasets import prepare


@pytest.mark.parametrize("name", LAYOUTS)
def test_either_layout_gives_the_same_examples(tmp_path, name):
    path, content, rows = LAYOUTS[name]
    write(tmp_path / "files", path, content)
    if name == "cosmosqa":
        write(tmp_path / "files", "cosmosqa/valid-labels.lst", "2\n")
    (task,) = find_tasks([name], str(tmp_path / "files"))
    from_files = read_examples(task, "validation")
    in_dataset(tmp_path / "tfds", name, rows)
    (task,) = find_tasks([name], str(tmp_path / "tfds"))
    assert read_examples(task, "validation") == from_files
    assert [example.row for example in from_files] == list(range(len(from_files)))
    assert len(split_version(task, "validation")) == 64


def test_what_metrics_and_submissions_need(tmp_path):
    names = ["multirc", "record", "wsc", "squad", "cola"]
    for name in names:
        write(tmp_path, *LAYOUTS[name][:2])
    found = {task.name: read_examples(task, "validation") for task in find_tasks(names, str(tmp_path))}
    assert [e.group for e in found["multirc"]] == ["3/5", "3/5"]
    assert found["multirc"][1].idx == {"paragraph": 3, "question": 5, "answer": 1}
    assert (found["record"][0].answers, found["record"][0].idx) == (("Bob",), {"passage": 2, "query": 6})
    assert (found["wsc"][0].target, found["wsc"][0].label, found["wsc"][0].idx) == ("The cat", 1, 4)
    assert [e.idx for e in found["squad"]] == ["q1", "q2"] and found["squad"][0].answers == ("Rome", "in Rome")
    assert [e.idx for e in found["cola"]] == [0, 1]


def test_dpr_is_trained_on(tmp_path):
    write(tmp_path, "DPR/train.c.txt", "Ann saw Bob, he ran.\nhe\nAnn,Bob\nBob\n\nA b it.\nit\nA,b\nA\n")
    (task,) = find_tasks(["dpr"], str(tmp_path))
    found = [(example.input, example.target) for example in read_examples(task, "train")]
    assert found == [("wsc: Ann saw Bob, *he* ran.", "Bob"), ("wsc: A b *it*.", "A")]
    write(tmp_path, "DPR/train.c.txt", "Ann saw Bob, he ran.\nhe\nAnn,Bob\nCarl\n")
    with pytest.raises(MissingError, match=r"train\.c\.txt:1: not sentence, pronoun"):
        read_examples(task, "train")


def test_data_that_is_not_there(tmp_path, monkeypatch):
    write(tmp_path, "CoLA/dev.tsv", LAYOUTS["cola"][1])
    (cola,) = find_tasks(["cola"], str(tmp_path))
    with pytest.raises(MissingError, match=r"neither CoLA/train\.tsv nor the TensorFlow dataset glue/cola.*tfds build"):
        read_examples(cola, "train")
    (anli,) = find_tasks(["anli"], str(tmp_path))
    with pytest.raises(MissingError, match=r"anli, train: .* doesn't have anli/train\.jsonl; it is in https:.*\.zip"):
        read_examples(anli, "train")
    with pytest.raises(MissingError, match="--data-dir"):
        read_examples(all_tasks()["anli"], "train")
    with pytest.raises(ConfigurationError, match="task dpr: no validation file; it has train"):
        read_examples(all_tasks()["dpr"], "validation")
    in_dataset(tmp_path, "rte", [{"sentence1": "A", "sentence2": "B", "label": 0}], "train")
    (rte,) = find_tasks(["rte"], str(tmp_path))
    with pytest.raises(MissingError, match=r"dataset glue/rte: no split 'validation'; it has train"):
        read_examples(rte, "validation")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    assert len(read_examples(all_tasks()["rte"], "train")) == 1


@pytest.mark.parametrize(
    ("name", "content", "error", "message"),
    [
        ("sst2", b"sentence\tlabel\nfine\n", MissingError, r"dev\.tsv:2: 1 columns, expected 2"),
        ("sst2", b"sentence\tlabel\nfine\t1\nbad \xff\t0\n", MissingError, r"dev\.tsv:3: not UTF-8"),
        ("sst2", b"sentence\tlabel\n", MissingError, r"dev\.tsv: no examples"),
        ("sst2", b"", MissingError, r"dev\.tsv: no examples"),
        ("sst2", b"sentence\tlabel\nfine\t3\n", ConfigurationError, r"dev\.tsv:2: '3' is not a label of task sst2"),
        ("sst2", b"text\tlabel\nfine\t1\n", ConfigurationError, r"dev\.tsv:1: no column 'sentence'"),
        ("rte", b"index\tsentence1\tsentence2\tlabel\n0\ta\tb\tmaybe\n", ConfigurationError, r"dev\.tsv:2: 'maybe'"),
        ("cb", b'{"premise": "p"}\n', ConfigurationError, r"val\.jsonl:1: no column 'hypothesis'"),
        ("cb", b'{"premise": ', MissingError, r"val\.jsonl:1: not JSON"),
        ("record", b'{"idx": 0, "passage": {}}\n', MissingError, r"val\.jsonl.*: no field 'text'"),
        ("squad", b'{"data": [{}]}', MissingError, r"dev-v1\.1\.json.*: no field 'paragraphs'"),
        ("squad", b'{"data": ', MissingError, r"dev-v1\.1\.json:1: not JSON"),
        ("wsc", b'{"text": "A b", "target": 3}', MissingError, r"val\.jsonl.*another kind"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, error, message):
    (task,) = find_tasks([name], str(tmp_path))
    write(tmp_path, task.validation[0], content)
    with pytest.raises(error, match=message) as raised:
        read_examples(task, "validation")
    assert "\n" not in str(raised.value)


def test_a_table_in_parquet(tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    rows = [{"text": "good", "label": 1}, {"text": "bad", "label": 0}]
    pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / "train.parquet")
    values = {"name": "own", "train": "train.parquet", "input": ["text"], "target": "label", "labels": ["no", "yes"]}
    (tmp_path / "own.yaml").write_text(dump_yaml(values))
    found = read_examples(load_task(tmp_path / "own.yaml"), "train")
    assert [(example.input, example.target) for example in found] == [
        ("own text: good", "yes"),
        ("own text: bad", "no"),
    ]


def test_squad_v2_from_either_layout(tmp_path):
    questions = [*SQUAD["qas"], {"id": "q3", "question": "Who?", "answers": [], "is_impossible": True}]
    content = {"version": "v2.0", "data": [{"title": "T", "paragraphs": [{**SQUAD, "qas": questions}]}]}
    write(tmp_path / "files", "squad/dev-v2.0.json", json.dumps(content))
    (task,) = find_tasks(["squad_v2"], str(tmp_path / "files"))
    found = read_examples(task, "validation")
    assert [(e.idx, e.target) for e in found] == [("q1", "Rome"), ("q2", "1900"), ("q3", "unanswerable")]
    rows = [
        {
            "context": SQUAD["context"],
            "question": question["question"],
            "id": question["id"],
            "answers": {"text": [answer["text"] for answer in question["answers"]]},
            "is_impossible": question.get("is_impossible", False),
        }
        for question in questions
    ]
    in_dataset(tmp_path / "tfds", "squad_v2", rows)
    (task,) = find_tasks(["squad_v2"], str(tmp_path / "tfds"))
    assert read_examples(task, "validation") == found


def test_a_label_of_a_dataset_that_is_not_one(tmp_path):
    in_dataset(tmp_path, "sst2", [{"sentence": "A", "label": 1}, {"sentence": "B", "label": 5}])
    (task,) = find_tasks(["sst2"], str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"dataset glue/sst2/1\.0\.0, validation, example 1: 5 is not a label"):
        read_examples(task, "validation")


def test_a_truncated_file_and_an_empty_split_of_a_dataset(tmp_path):
    (path,) = in_dataset(tmp_path, "sst2", [{"sentence": "fine " * 20, "label": 1}] * 50)
    path.write_bytes(path.read_bytes()[:-30])
    (task,) = find_tasks(["sst2"], str(tmp_path))
    with pytest.raises(
        MissingError, match=r"dataset glue/sst2/1\.0\.0: a file cannot be read \(truncated record"
    ) as raised:
        read_examples(task, "validation")
    assert "\n" not in str(raised.value)
    path.unlink()
    with pytest.raises(MissingError, match="dataset glue/sst2"):
        read_examples(task, "validation")


def test_a_line_of_a_megabyte(tmp_path):
    text = "word " * 200_000
    write(tmp_path, "SST-2/dev.tsv", f"sentence\tlabel\n{text}\t1\nshort\t0\n")
    (task,) = find_tasks(["sst2"], str(tmp_path))
    long, short = read_examples(task, "validation")
    assert long.input == f"sst2 sentence: {text}" and short.target == "negative"


def test_ones_own_task_on_a_dataset(tmp_path):
    prepare(tmp_path / "tfds", "own/small", features_of({"q": "", "a": 0}), [[{"q": "Why?", "a": 1}]], version="2.0.0")
    values = {"name": "own", "dataset": "own/small", "data_dir": str(tmp_path / "tfds"), "input": ["q"], "target": "a"}
    (tmp_path / "own.yaml").write_text(dump_yaml({**values, "labels": ["no", "yes"]}))
    (example,) = read_examples(load_task(tmp_path / "own.yaml"), "train")
    assert (example.input, example.target) == ("own q: Why?", "yes")
    (tmp_path / "own.yaml").write_text(dump_yaml({**values, "input": ["question"]}))
    with pytest.raises(ConfigurationError, match="example 0: no column 'question'; it has"):
        read_examples(load_task(tmp_path / "own.yaml"), "train")
