import pytest

from scalecli.data.tasks.demo import write_package_task
from scalecli.data.tasks.task import load_task
from scalecli.data.text.docstrings import Docstring
from scalecli.errors import MissingError
from tests.data.conftest import sentences
from tests.data.tasks.originals import read_examples


def docstrings(counts):
    return [
        Docstring(package, f"{package.upper()}s and {text}")
        for seed, (package, count) in enumerate(counts.items())
        for text in sentences(count, seed=seed)
    ]


def test_package_task(tmp_path):
    counts = {"aa": 50, "bb": 40, "cc": 300, "dd": 30, "ee": 25, "ff": 20, "gg": 19}
    task = load_task(write_package_task(docstrings(counts), tmp_path / "one"))
    assert list(task.labels) == ["aa", "bb", "cc", "dd", "ee", "ff"]
    train, validation = (read_examples(task, split) for split in ("train", "validation"))
    for examples, each in ((train, 16), (validation, 4)):
        assert [sum(e.target == label for e in examples) for label in task.labels] == [each] * 6
    assert not {e.input for e in train} & {e.input for e in validation}
    assert all("the packages and" in e.input and e.target.upper() not in e.input for e in train)
    write_package_task(reversed(docstrings(counts)), tmp_path / "two")
    for name in ("train.jsonl", "validation.jsonl", "task.yaml"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_too_few_packages(tmp_path):
    with pytest.raises(MissingError, match="1 packages"):
        write_package_task(docstrings({"aa": 50, "bb": 3}), tmp_path)
    assert not list(tmp_path.iterdir())
