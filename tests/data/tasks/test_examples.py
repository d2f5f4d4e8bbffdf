"""Tasks' examples from original files and from TensorFlow datasets, and what is said of data that is damaged."""

import json
from collections import Counter

import pytest

from scalecli.data.sources import Remarks
from scalecli.data.tasks.examples import iterate_examples, read_examples, split_version
from scalecli.data.tasks.registry import all_tasks, find_tasks, groups
from scalecli.data.tasks.task import Task, load_task
from scalecli.errors import ConfigurationError, MissingError
from scalecli.strict import dump_yaml
from tests.data.tasks.originals import LAYOUTS, SPANS, SQUAD, WSC
from tests.datasets import prepare


def write(data_dir, path, content):
    (data_dir / path).parent.mkdir(parents=True, exist_ok=True)
    (data_dir / path).write_bytes(content if isinstance(content, bytes) else content.encode())


def features_of(row):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    kinds = {str: tfds.features.Text, int: lambda: tf.int32, float: lambda: tf.float32, bool: lambda: tf.int32}

    def feature(value):
        if isinstance(value, dict):
            return {key: feature(item) for key, item in value.items()}
        if isinstance(value, list):
            return tfds.features.Sequence(tfds.features.Text())
        return kinds[type(value)]()

    return {key: feature(value) for key, value in row.items()}


def in_dataset(data_dir, name, rows, split="validation"):
    task = all_tasks()[name]
    split = task.dataset_splits()[split]
    return prepare(data_dir, task.dataset, features_of(rows[0]), [rows], split=split)


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


def test_test_sets_have_no_labels(tmp_path):
    write(tmp_path, "CoLA/test.tsv", "index\tsentence\n0\tBill whistled past the house.\n")
    write(tmp_path, "BoolQ/test.jsonl", json.dumps({"question": "q", "passage": "p", "idx": 8}))
    for task in find_tasks(["cola", "boolq"], str(tmp_path)):
        (example,) = read_examples(task, "test")
        assert example.target == "<unk>" and example.idx in (0, 8)


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
    assert not example.is_labelled


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


REAL = {
    ("cola", "train"): 8_000,
    ("sst2", "validation"): 872,
    ("mrpc", "train"): 3_668,
    ("qqp", "train"): 10_000,
    ("stsb", "validation"): 1_500,
    ("mnli", "validation"): 9_815,
    ("qnli", "validation"): 5_463,
    ("rte", "train"): 2_490,
    ("wnli", "train"): 635,
    ("boolq", "validation"): 3_270,
    ("cb", "train"): 250,
    ("copa", "validation"): 100,
    ("multirc", "train"): 24_116,
    ("multirc", "validation"): 4_848,
    ("superglue_rte", "validation"): 277,
    ("wic", "train"): 5_000,
    ("wsc", "train"): 259,
    ("wsc", "validation"): 104,
    ("squad", "train"): 11_877,
    ("squad", "validation"): 4_961,
    ("imdb", "train"): 3_000,
}


@pytest.mark.parametrize(("name", "split"), REAL)
def test_real_files(data_folder, name, split):
    (task,) = find_tasks([name], str(data_folder))
    examples = read_examples(task, split)
    assert len(examples) == REAL[name, split]
    if task.labels:
        assert {example.target for example in examples} == set(task.labels)
    assert all(example.input.startswith((f"{task.prefix}", "question: ")) for example in examples)


def test_real_rows_by_hand(data_folder):
    """The first rows of files, written down by hand in T5's form."""
    expected = {
        "cola": ("cola sentence: The sailors rode the breeze clear of the rocks.", "acceptable"),
        "stsb": (
            "stsb sentence1: A young child is riding a horse. sentence2: A child is riding a horse.",
            "4.8",
        ),
        "copa": (
            "copa choice1: The toilet filled with water. choice2: Water flowed from the spout. premise: The man turned "
            "on the faucet. question: effect",
            "choice2",
        ),
        "wic": (
            "wic sentence1: An emerging professional class. sentence2: Apologizing for losing your temper, even though "
            "you were badly provoked, showed real class. word: class",
            "False",
        ),
        "wsc": (
            "wsc: Mr. Moncrieff visited Chester 's luxurious New York apartment, thinking that it belonged to his son "
            "Edward . The result was that Mr. Moncrieff has decided to cancel Edward 's allowance on the ground that "
            "he no longer requires *his* financial support.",
            "Mr. Moncrieff",
        ),
    }
    rows = {"stsb": 1, "wsc": 1}
    for task in find_tasks(list(expected), str(data_folder)):
        example = read_examples(task, "validation")[rows.get(task.name, 0)]
        assert (example.input, example.target) == expected[task.name]
    (squad,) = find_tasks(["squad"], str(data_folder))
    example = read_examples(squad, "validation")[0]
    assert example.input.startswith(
        "question: Which NFL team represented the AFC at Super Bowl 50 ? context: Super Bowl 50 was an American"
    )
    assert (
        "defeated the National Football Conference ( NFC ) champion Carolina Panthers 24 \u2013 10 to" in example.input
    )
    assert example.answers == ("Denver Broncos",) * 3


def test_real_wsc_spans_stand_in_their_texts(data_folder):
    (task,) = find_tasks(["wsc"], str(data_folder))
    examples = [*read_examples(task, "train"), *read_examples(task, "validation")]
    assert all("*" in example.input for example in examples)
    missing = {e.target for e in examples if e.target not in e.input.replace("*", "")}
    assert missing <= {"Kamenev and Zinoviev", "Kamenev, Zinoviev, and Stalin"}


def test_every_group_has_a_task_of_the_real_files(data_folder):
    found = {group: 0 for group in ("glue", "superglue", "squad", "classification")}
    for group in found:
        for task in find_tasks([group], str(data_folder)):
            try:
                found[group] += bool(read_examples(task, "validation")) if task.has("validation") else 0
            except MissingError as error:
                assert "neither" in str(error)
    assert found == {"glue": 8, "superglue": 7, "squad": 1, "classification": 1}
    assert set(found) <= set(groups())
