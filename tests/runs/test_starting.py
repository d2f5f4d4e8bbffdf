"""What a start that fails leaves behind, and what a finetuned model that scores nothing is said to predict."""

import pytest

from scalecli.data.tasks.task import Example, Task
from scalecli.errors import ScalecliError
from scalecli.evaluation.tasks import TaskScores, TaskSplit
from scalecli.runs.directory import prepared_directory
from scalecli.runs.tasks.finetuning import zero_note
from tests.runs.conftest import command


def test_a_start_that_fails_leaves_no_directory(material, tmp_path):
    command(*material.pretraining(tmp_path / "runs" / "a", text=tmp_path / "none.txt")).failed(4)
    assert not (tmp_path / "runs").exists()


def test_a_directory_that_was_there_or_has_something_in_it_stays(tmp_path):
    for name in ("empty", "filled"):
        (tmp_path / "there").mkdir(exist_ok=True)
        with pytest.raises(ScalecliError, match="fails"), prepared_directory(tmp_path / "there" / name):
            if name == "filled":
                (tmp_path / "there" / name / "file").touch()
            raise ScalecliError("fails")
    assert [path.name for path in sorted(tmp_path.rglob("*"))] == ["there", "filled", "file"]


@pytest.mark.parametrize(
    ("predictions", "said"),
    [
        (["", "", "bad bad"], "'' (2 times), 'bad bad' (1 times); expected are texts such as 'bad', 'good'"),
        (["x" * 50] * 3, f"'{'x' * 40}' (3 times); expected"),
        (["", "", "good"], None),
    ],
)
def test_predictions_without_a_score_are_shown(predictions, said):
    task = Task(name="marker", input="{x}", target="y", labels=("bad", "good"), metrics=("accuracy",))
    test = TaskSplit(task, [Example("", "good", row) for row in range(3)])
    note = zero_note(test, TaskScores(predictions, test.score(predictions)))
    if said is None:
        assert note is None
    else:
        assert note.startswith("marker: no score above 0. Of 3 predictions the most frequent are ") and said in note
