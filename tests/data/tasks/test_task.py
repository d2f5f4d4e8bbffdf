import gzip
import json

import pytest

from scalecli.data.tasks.examples import split_version
from scalecli.data.tasks.task import Task, load_task
from scalecli.errors import ConfigurationError, MissingError
from scalecli.storage.files import write_atomically
from scalecli.strict import dump_yaml
from tests.data.tasks.originals import read_examples

BASE = {"name": "sst2", "train": "a.tsv", "input": "sst2 sentence: {sentence}", "target": "label"}


def write(tmp_path, content='sentence\tlabel\nfine \t1\n"bad\t0\n', name="a.tsv", **changes):
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    values = {**BASE, "train": name, "labels": ["negative", "positive"], **changes}
    (tmp_path / "task.yaml").write_text(dump_yaml({key: value for key, value in values.items() if value is not None}))
    return tmp_path / "task.yaml"


def pairs(path, split="train"):
    return [(example.input, example.target) for example in read_examples(load_task(path), split)]


def test_tsv_template_and_list_of_labels(tmp_path):
    expected = [("sst2 sentence: fine ", "positive"), ('sst2 sentence: "bad', "negative")]
    assert pairs(write(tmp_path)) == expected
    assert pairs(write(tmp_path, '\ufeffsentence\tlabel\r\nfine \t1\r\n"bad\t0\r\n')) == expected
    packed = gzip.compress(b'sentence\tlabel\nfine \t1\n"bad\t0\n')
    assert pairs(write(tmp_path, packed, name="a.tsv.gz")) == expected
    assert pairs(write(tmp_path, 'fine \t1\n"bad\t0', columns=["sentence", "label"])) == expected


def test_csv_columns_and_mapping_of_labels(tmp_path):
    content = 'kind,second,first\nno,"a ""b"", c","d\ne"\nyes,f,g\n'
    labels = {"no": "not_same", "yes": "same"}
    path = write(tmp_path, content, name="a.csv", labels=labels, input=["first", "second"], target="kind")
    assert pairs(path) == [
        ('sst2 first: d\ne second: a "b", c', "not_same"),
        ("sst2 first: g second: f", "same"),
    ]


def write_jsonl(tmp_path, *records, **changes):
    return write(tmp_path, "\n".join(map(json.dumps, records)) + "\n", name="a.jsonl", **changes)


def test_jsonl_and_no_labels(tmp_path):
    path = write_jsonl(
        tmp_path, {"sentence": 3.5, "label": True}, {"sentence": "x", "label": "y"}, labels=None, input="{{{sentence}}}"
    )
    assert pairs(path) == [("{3.5}", "true"), ("{x}", "y")]
    assert load_task(path).metrics == ("exact_match", "token_f1")


def test_items_of_lists_and_numbered_labels(tmp_path):
    path = write_jsonl(
        tmp_path,
        {"choices": ["x", "y"], "label": 1},
        {"choices": ["z", "w"], "label": "NO "},
        {"choices": ["v", "u"], "label": False},
        labels=["no", "yes"],
        input="1: {choices[0]} 2: {choices[1]}",
    )
    assert pairs(path) == [("1: x 2: y", "yes"), ("1: z 2: w", "no"), ("1: v 2: u", "no")]
    with pytest.raises(ConfigurationError, match=r"a\.jsonl:1: task sst2 takes more items"):
        pairs(write_jsonl(tmp_path, {"choices": [], "label": 1}, input="{choices[0]}"))


def test_a_number_from_a_threshold_on_is_the_second_label(tmp_path):
    content = "text\ttoxicity\na\t0.5\nb\t0.49\n"
    changes = {"input": ["text"], "target": "toxicity", "labels": ["fine", "toxic"], "threshold": 0.5}
    assert [target for _, target in pairs(write(tmp_path, content, **changes))] == ["toxic", "fine"]


def test_a_task_in_a_bucket_has_its_files_there():
    write_atomically("memory://tasks/sst2/a.tsv", "sentence\tlabel\nfine\t1\n")
    write_atomically("memory://tasks/b.tsv", "sentence\tlabel\nbad\t0\n")
    values = {**BASE, "validation": ["../b.tsv", "/local/c.tsv"]}
    write_atomically("memory://tasks/sst2/task.yaml", dump_yaml(values))
    task = load_task("memory://tasks/sst2/task.yaml")
    assert task.train == ("memory://tasks/sst2/a.tsv",)
    assert task.validation == ("memory://tasks/b.tsv", "/local/c.tsv")
    assert [example.target for example in read_examples(task, "train")] == ["1"]


def test_a_task_travels(tmp_path):
    task = load_task(write(tmp_path, lengths={"inputs": 64}, metrics=["f1", "accuracy"]))
    assert (task.inputs_length, task.targets_length) == (64, 84)
    assert Task.from_dict(task.to_dict()) == task
    assert task.train == (str(tmp_path / "a.tsv"),)
    assert [e.row for e in read_examples(task, "train")] == [0, 1]
    before = split_version(task, "train")
    (tmp_path / "a.tsv").write_text("sentence\tlabel\nother\t1\n")
    assert split_version(task, "train") != before


def test_flags_say_the_same_as_a_file(tmp_path):
    path = write(tmp_path, input=["sentence"], metrics=["accuracy"], lengths={"inputs": 32, "targets": 8})
    flags = {"name": "sst2", "train": (str(tmp_path / "a.tsv"),), "input": "sentence", "target": "label"}
    lengths = {"inputs_length": 32, "targets_length": 8}
    assert Task.from_flags(**flags, **lengths, labels=("negative", "positive"), validation=()) == load_task(path)
    task = Task.from_flags(**flags, labels=("a=x", "b=y"))
    assert task.raw_labels == {"a": "x", "b": "y"} and task.labels == ("x", "y")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lables": ["a"]}, "unknown key 'lables'; did you mean 'labels'"),
        ({"metrics": ["acuracy"]}, "did you mean 'accuracy'"),
        ({"lengths": {"input": 3}}, r"'lengths\.input'; did you mean 'inputs'"),
        ({"lengths": {"inputs": 0}}, r"lengths\.inputs"),
        ({"input": "no place"}, "names of columns"),
        ({"input": "an {open brace"}, "brace"),
        ({"input": "a {} b"}, "names of columns"),
        ({"target": None}, "missing key 'target'"),
        ({"labels": [True, False]}, "in quotes"),
        ({"labels": []}, "labels"),
        ({"labels": ["same", "same"]}, "labels: 'same' stands there twice"),
        ({"labels": {"0": "bad", 0: "good"}}, "labels: '0' stands there twice"),
        ({"labels": ["bad", " "]}, "labels: the text of '1' is empty"),
        ({"train": []}, "neither train nor validation"),
        ({"format": "jsnol"}, "format: 'jsnol'.*did you mean 'jsonl'"),
        ({"input": "{choices[first]}"}, "taken by its number"),
        ({"threshold": 0.5, "labels": ["a"]}, "two labels"),
        ({"form": "sqad"}, "did you mean 'squad'"),
        ({"splits": {"dev": "validation"}}, "splits: 'dev'"),
        ({"fields": {"label": "quality"}}, r"a\.tsv:1: no column 'quality'"),
        ({"input": "{sentense}"}, r"a\.tsv:1: no column 'sentense'.*did you mean 'sentence'"),
        ({"target": "labels"}, r"a\.tsv:1: no column 'labels'"),
        ({"labels": ["negative"]}, r"a\.tsv:2: '1' is not a label of task sst2; it has 'negative'"),
    ],
)
def test_bad_tasks_are_named(tmp_path, changes, message):
    with pytest.raises(ConfigurationError, match=message) as raised:
        pairs(write(tmp_path, **changes))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("sentence\tlabel\nfine\n", r"a\.tsv:2: 1 columns, expected 2"),
        ("sentence\tlabel\n", "no examples"),
        ("", "no examples"),
        (b"sentence\tlabel\n\n\xe9\t1\n", r"a\.tsv:3: not UTF-8"),
    ],
)
def test_bad_files_are_named(tmp_path, content, message):
    with pytest.raises(MissingError, match=message):
        pairs(write(tmp_path, content))


def test_other_bad_files(tmp_path):
    with pytest.raises(MissingError, match=r"a\.csv:2: not CSV"):
        pairs(write(tmp_path, 'sentence,label\n"x"y,1\n', name="a.csv"))
    with pytest.raises(ConfigurationError, match=r"a\.jsonl:2: no column 'label'"):
        pairs(write_jsonl(tmp_path, {"sentence": "x", "label": 0}, {"sentence": "x"}))
    with pytest.raises(MissingError, match=r"a\.jsonl: no examples \(1 left out: sentence is null\)"):
        pairs(write_jsonl(tmp_path, {"sentence": None, "label": 0}))
    with pytest.raises(ConfigurationError, match="doesn't say its format"):
        pairs(write(tmp_path, name="a.dat"))
    with pytest.raises(ConfigurationError, match="no validation file; it has train"):
        pairs(write(tmp_path), "validation")
    path = write(tmp_path)
    (tmp_path / "a.tsv").unlink()
    with pytest.raises(MissingError, match=r"a\.tsv: no file matches"):
        pairs(path)
    with pytest.raises(MissingError, match="no such file"):
        load_task(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("folder", "flags", "counts"),
    [
        ("SST-2", {"input": "sentence", "target": "label", "labels": ("negative", "positive")}, (10_000, 872)),
        (
            "MRPC",
            {"input": "a: {#1 String} b: {#2 String}", "target": "Quality", "labels": ("no", "yes")},
            (3_668, 408),
        ),
        ("STS-B", {"input": "sentence1,sentence2", "target": "score", "metrics": ("pearson",)}, (5_749, 1_500)),
    ],
)
def test_real_tasks(data_folder, folder, flags, counts):
    files = {
        "train": str(data_folder / "glue" / folder / "train.tsv"),
        "validation": str(data_folder / "glue" / folder / "dev.tsv"),
    }
    task = Task.from_flags(name=folder, **files, **flags)
    assert tuple(len(read_examples(task, split)) for split in ("train", "validation")) == counts
