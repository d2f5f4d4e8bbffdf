"""Predictions come back in the examples' order, cut to their task's length, whatever the batches they were made in."""

from dataclasses import replace

import numpy as np
import pytest

from scalecli.data.tasks.registry import all_tasks
from scalecli.data.tasks.task import UNLABELED, Example
from scalecli.errors import ConfigurationError, MissingError
from scalecli.evaluation import tasks as evaluation
from scalecli.evaluation.tasks import TaskEvaluation, TaskInputs, TaskSplit, figures, figures_with_intervals
from tests.data.conftest import WORDS

ECHO = replace(all_tasks()["squad"], name="echo", inputs_length=70, targets_length=12, metrics=("exact_match",))
COLA = replace(all_tasks()["cola"], labels=("noise", "text"))


@pytest.fixture
def shapes(monkeypatch):
    """Decoders that repeat the input, and rankers that prefer the second label of inputs that begin with "text"."""
    seen = []

    def greedy(model, length, devices):
        def decode(inputs):
            seen.append((inputs.shape, length))
            return np.pad(inputs, ((0, 0), (0, length)))[:, :length]

        return decode

    def ranker(model, labels, devices):
        return lambda inputs: (inputs[:, 0] == labels[1][0]).astype(int)

    monkeypatch.setattr(evaluation, "greedy_decoder", greedy)
    monkeypatch.setattr(evaluation, "label_ranker", ranker)
    return seen


def echoes(count):
    texts = [" ".join(WORDS[n % 7 : n % 7 + 1 + n % 3]) for n in range(count)]
    return [Example(text, text, row) for row, text in enumerate(texts)]


def test_predictions_are_in_the_order_of_the_examples(vocabulary, shapes):
    tests = [TaskSplit(ECHO, echoes(23)), TaskSplit(replace(ECHO, name="second"), echoes(5))]
    done = []
    found = TaskEvaluation(None, TaskInputs(tests, "test", vocabulary, 4))(lambda *of: done.append(of))
    assert found["echo"].predictions == [example.target for example in tests[0].examples]
    assert figures(found, [ECHO])["echo/exact_match"] == 100.0
    assert set(shapes) == {((4, 64), 16)}  # one shape, of batches that are all full
    assert done[-1] == (28, 28) and done == sorted(done)


def test_a_prediction_is_cut_to_its_tasks_length(vocabulary, shapes):
    long = Example(" ".join(WORDS), "x", 0)
    (prediction,) = TaskEvaluation(None, TaskInputs([TaskSplit(ECHO, [long])], "test", vocabulary, 2))()[
        "echo"
    ].predictions
    assert prediction == vocabulary.decode(vocabulary.encode(long.input)[:12])


def test_inputs_that_are_cut_are_counted(vocabulary, shapes):
    long = Example(" ".join(WORDS * 4), "x", 0)
    made = TaskInputs([TaskSplit(ECHO, [long, *echoes(3)])], "validation", vocabulary, 2)
    assert made.warnings == ["echo, validation: 1 of 4 inputs cut to 70 tokens"]


def test_labels_are_ranked_and_other_tasks_decoded(vocabulary, shapes):
    rows = [Example("noise of text", "noise", 0), Example("text", "text", 1), Example("text of noise", "noise", 2)]
    tests = [TaskSplit(COLA, rows), TaskSplit(ECHO, echoes(3))]
    found = TaskEvaluation(None, TaskInputs(tests, "test", vocabulary, 2), ranked=True)()
    assert found["cola"].predictions == ["noise", "text", "text"]
    assert figures(found, [COLA])["echo/exact_match"] == 100.0


def test_figures_carry_intervals_and_numbers_of_examples(vocabulary, shapes):
    rows = [Example("noise", target, n) for n, target in enumerate(["noise", "text", "noise", "noise"])]
    task = replace(COLA, metrics=("accuracy",))
    found = TaskEvaluation(None, TaskInputs([TaskSplit(task, rows)], "test", vocabulary, 2))()
    result = figures_with_intervals(found, [task])
    assert result["cola/accuracy"] == result["mean_over_tasks"] == 75.0 and result["cola/examples"] == 4
    assert result["cola/accuracy/low"] < 75.0 < result["cola/accuracy/high"]
    assert TaskSplit(task, rows).baseline == {"accuracy": 75.0}
    assert TaskSplit(task, rows).invalid(["noise", " text", "noises", ""]) == 2


@pytest.mark.parametrize("row", [Example("text", UNLABELED, 1), Example("text", "Bob", 1, label=-1)])
def test_examples_without_labels_have_predictions_and_no_score(vocabulary, shapes, row):
    task = replace(COLA, labels=None, metrics=("exact_match",))
    test = TaskSplit(task, [Example("noise", "noise", 0), row])
    found = TaskEvaluation(None, TaskInputs([test], "test", vocabulary, 2))()
    assert found["cola"].predictions == ["noise", "text"]
    assert figures_with_intervals(found, [task]) == {} and test.baseline == {}


def test_what_cannot_be_scored_is_found_before_anything_is_predicted():
    with pytest.raises(ConfigurationError, match="'maybe' is none of"):
        TaskSplit(COLA, [Example("text", "maybe", 0)])
    with pytest.raises(MissingError):
        TaskSplit(COLA, [])
