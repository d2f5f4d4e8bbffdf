import pytest

from scalecli.data.tasks.registry import ALL, GROUPS, all_tasks, find_tasks, groups
from scalecli.data.tasks.task import Task
from scalecli.errors import ConfigurationError, MissingError
from scalecli.strict import dump_yaml

GLUE = "cola sst2 mrpc qqp stsb mnli mnli_mismatched qnli rte"
SUPERGLUE = "boolq cb copa multirc record superglue_rte wic wsc dpr"
RAINBOW = "anli cosmosqa hellaswag physicaliqa socialiqa winogrande"


def test_groups():
    assert groups()["glue"] == tuple(GLUE.split())
    assert groups()["superglue"] == tuple(SUPERGLUE.split())
    assert groups()["rainbow"] == tuple(RAINBOW.split())
    assert groups()["squad"] == ("squad",)
    assert groups()["generation"] == ("xsum", "cnn_dailymail", "multi_news")
    assert groups()["classification"] == ("civil_comments", "wiki_toxicity", "imdb")
    assert len(groups()[ALL]) == len(set(groups()[ALL])) == sum(len(groups()[group]) for group in GROUPS)
    assert set(all_tasks()) - set(groups()[ALL]) == {"wnli", "ax", "axb", "axg", "squad_2022", "squad_v2"}


@pytest.mark.parametrize("name", all_tasks())
def test_every_task_is_whole(name):
    task = all_tasks()[name]
    assert Task.from_dict(task.to_dict(), folder=None) == task
    assert task.metrics and (task.has("validation") or task.has("train") or task.has("test"))
    assert (task.examples is not None) == task.has("train")
    if task.dataset and task.splits is None:
        assert {split for split in ("train", "validation", "test") if task.files(split)} >= {"train", "validation"}


def test_weights_and_lengths_of_the_papers():
    tasks = all_tasks()
    examples = {name: tasks[name].examples for name in (*GLUE.split(), *SUPERGLUE.split())}
    assert sum(count for name, count in examples.items() if count and name in GLUE) == 949_101
    assert examples["record"] == 138_854 and examples["wsc"] + examples["dpr"] == 1_581
    lengths = {group: {(tasks[n].inputs_length, tasks[n].targets_length) for n in groups()[group]} for group in GROUPS}
    assert [lengths[group] for group in ("glue", "superglue", "squad", "generation")] == [
        {(512, 84)},
        {(512, 62)},
        {(512, 97)},
        {(512, 512)},
    ]
    assert tasks["mnli_mismatched"].scored_with == "mnli" and not tasks["mnli_mismatched"].has("train")
    assert tasks["dpr"].has("train") and not tasks["dpr"].has("validation")


def test_names_groups_and_files(tmp_path):
    own = {"name": "own", "train": "a.tsv", "input": ["x"], "target": "y"}
    (tmp_path / "own.yaml").write_text(dump_yaml(own))
    found = find_tasks(["rte", "glue", str(tmp_path / "own.yaml")], "/data")
    assert [task.name for task in found] == ["rte", *(name for name in GLUE.split() if name != "rte"), "own"]
    assert {task.data_dir for task in found} == {"/data"}
    (tmp_path / "own.yaml").write_text(dump_yaml({**own, "name": "rte"}))
    with pytest.raises(ConfigurationError, match="a second task of the name 'rte'"):
        find_tasks(["rte", str(tmp_path / "own.yaml")])
    with pytest.raises(ConfigurationError, match=r"'supergleu'.*did you mean 'superglue'"):
        find_tasks(["supergleu"])
    with pytest.raises(MissingError, match="no such file"):
        find_tasks(["none.yaml"])
