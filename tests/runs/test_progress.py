"""Where a user waits, the reporter hears how far things are."""

import pytest

from scalecli.cli.output.progress import ConsoleReporter
from tests.runs.conftest import command, documents


@pytest.fixture
def heard(monkeypatch):
    """What was reported, by kind."""
    found = {"documents": [], "examples": []}
    for kind, calls in found.items():
        monkeypatch.setattr(ConsoleReporter, kind, lambda self, *counts, calls=calls: calls.append(counts))
    return found


def test_reading_and_measuring_text(place, reference, heard, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{document}\n" for document in documents(70, seed=5)))
    arguments = ["--text", text, "--examples", 6, "--batch", 4, "--run", tmp_path / "eval"]
    ran = command("eval", reference, *arguments, "--cache-directory", tmp_path / "cache")
    assert ran.code == 0, ran.err
    assert [done for done, _ in heard["documents"]] == [64, 70]
    assert heard["examples"] == [(4, 6), (6, 6)]


def test_reading_the_text_of_pretraining(place, heard, tmp_path, no_training):
    ran = command(*place.pretraining(tmp_path / "run", steps=1, cache_directory=tmp_path / "cache"))
    assert ran.code == 0, ran.err
    assert heard["documents"][-1][0] == 8  # held out of 400
    assert 392 in [done for done, _ in heard["documents"]]


def test_decoding_while_finetuning(place, reference, heard, tmp_path, no_training):
    (tmp_path / "a.tsv").write_text("sentence\tlabel\n" + "some words\t1\n" * 5)
    task = tmp_path / "task.yaml"
    task.write_text(
        "name: t\ntrain: a.tsv\nvalidation: a.tsv\n"
        "input: '{sentence}'\ntarget: label\nlengths: {inputs: 16, targets: 4}\n"
    )
    arguments = ["--task", task, "--run", tmp_path / "run", "--steps", 1, "--batch", 2, "--evaluation-batch", 3]
    ran = command("finetune", reference, *arguments, "--cache-directory", tmp_path / "cache")
    assert ran.code == 0, ran.err
    assert heard["examples"] == [(3, 5), (5, 5)]


def test_an_evaluation_says_how_long_it_will_take(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("scalecli.cli.output.progress.time.monotonic", lambda: now[0])
    with ConsoleReporter() as reporter:
        for done in (100, 500, 900, 100):  # the last is of the next evaluation
            reporter.examples(done, 900)
            now[0] += 20
    assert capsys.readouterr().err.splitlines() == [
        "evaluated 100 of 900 examples",
        "evaluated 500 of 900 examples  20 examples/s  0:20 left",
        "evaluated 900 of 900 examples  20 examples/s  0:00 left",
        "evaluated 100 of 900 examples",
    ]


def test_waiting_off_a_terminal_is_a_line_now_and_then(capsys, monkeypatch):
    monkeypatch.setattr("scalecli.cli.output.progress.time.monotonic", lambda: 100.0)
    with ConsoleReporter() as reporter:
        reporter.documents(64, 1_000)
        reporter.documents(128, 2_000)
        reporter.examples(3, 5)
    assert capsys.readouterr().err == "tokenized 64 documents, 1,000 tokens\n"
