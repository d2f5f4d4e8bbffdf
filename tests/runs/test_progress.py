"""Where a user waits, the reporter hears how far things are."""

import pytest

from scalecli.cli.output.progress import ConsoleReporter
from tests.runs.conftest import command, documents


@pytest.fixture
def heard(monkeypatch):
    """What was reported, by kind."""
    reports = {"working": [], "examples": []}
    for kind, calls in reports.items():
        monkeypatch.setattr(ConsoleReporter, kind, lambda self, *counts, calls=calls: calls.append(counts))
    return reports


def test_reading_and_measuring_text(material, reference, heard, tmp_path):
    text = tmp_path / "text.txt"
    text.write_text("".join(f"{document}\n" for document in documents(70, seed=5)))
    arguments = ["--text", text, "--examples", 6, "--batch", 4, "--run", tmp_path / "eval"]
    ran = command("eval", reference, *arguments, "--cache-directory", tmp_path / "cache")
    assert ran.code == 0, ran.err
    assert [text.split(",")[0] for text, _ in heard["working"]] == ["tokenized 64 documents", "tokenized 70 documents"]
    assert heard["working"][-1][1] == 1.0
    assert heard["examples"] == [(4, 6), (6, 6)]


def test_reading_the_text_of_pretraining(material, heard, tmp_path, no_training):
    ran = command(*material.pretraining(tmp_path / "run", steps=1, cache_directory=tmp_path / "cache"))
    assert ran.code == 0, ran.err
    tokenized = [text.split(",")[0] for text, _ in heard["working"]]
    assert tokenized[-1] == "tokenized 8 documents"  # held out of 400
    assert "tokenized 392 documents" in tokenized


def test_decoding_while_finetuning(material, reference, heard, tmp_path, no_training):
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
    assert heard["working"] == [("tokenized 5 of 5 texts", 1.0)] * 3  # to train on: inputs and targets; to measure on


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
        reporter.working("tokenized 64 documents, 1,000 tokens", None)
        reporter.working("tokenized 128 documents, 2,000 tokens", None)
        reporter.examples(3, 5)
    assert capsys.readouterr().err == "tokenized 64 documents, 1,000 tokens\n"


def test_work_before_training_says_how_long_it_will_take(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("scalecli.cli.output.progress.time.monotonic", lambda: now[0])
    with ConsoleReporter() as reporter:
        for share in (0.2, 0.4, 0.6, 0.1, None, 0.3):  # other work begins at 0.1, and after what has no share
            reporter.working("working", share)
            now[0] += 20
    assert capsys.readouterr().err.splitlines() == [
        "working  20%",
        "working  40%  1:00 left",
        "working  60%  0:40 left",
        "working  10%",
        "working",
        "working  30%",
    ]
