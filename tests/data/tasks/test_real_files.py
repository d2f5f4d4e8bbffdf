"""The files of GLUE, SuperGLUE and SQuAD as they are published."""

import pytest

from scalecli.data.tasks.registry import find_tasks, groups
from scalecli.errors import MissingError
from tests.data.tasks.originals import read_examples

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
