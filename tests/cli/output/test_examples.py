import numpy as np
import pytest

from scalecli.cli.output.examples import print_examples
from scalecli.data.text.vocabulary_training import train_vocabulary
from tests.data.conftest import sentences


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    return train_vocabulary(sentences(300), 80, tmp_path_factory.mktemp("vocabulary") / "small.model")


def row(*ids):
    return np.array([ids], np.int32)


def test_sentinels_and_padding(vocabulary, capsys):
    first = vocabulary.size - 1
    ids = vocabulary.encode("noise")
    batch = {"inputs": row(*ids, first, first - 1, 1, 0, 0), "targets": row(first, *ids, 1)}
    print_examples(iter([batch, batch]), vocabulary, 2)
    lines = capsys.readouterr().out.splitlines()
    pieces = " ".join(vocabulary.piece(token) for token in ids)
    assert lines[1:4] == [
        "example 1",
        f"inputs: {len(ids) + 3} of {len(ids) + 5} tokens",
        "  text    noise <extra_id_0> <extra_id_1>",
    ]
    assert lines[4] == f"  tokens  {pieces} <extra_id_0> <extra_id_1> </s>"
    assert lines[7] == f"  tokens  <extra_id_0> {pieces} </s>" and "example 2" in lines


def test_segments_and_tasks(vocabulary, capsys):
    first, second = vocabulary.encode("noise"), vocabulary.encode("text")
    segments = row(*[1] * len(first), *[2] * len(second), 0)
    batch = {"inputs": row(*first, *second, 0), "targets": row(*first, *second, 0), "task": np.array([1])}
    batch |= {"inputs_segments": segments, "targets_segments": segments}
    print_examples(iter([batch]), vocabulary, 1, ["a", "b"])
    out = capsys.readouterr().out
    assert "example 1, b\n" in out
    assert out.count("  segment 1 text    noise\n") == out.count("  segment 2 text    text\n") == 2


def test_colors_are_for_terminals(vocabulary, monkeypatch, capsys):
    batch = {"inputs": row(vocabulary.size - 1, 1), "targets": row(1)}
    monkeypatch.setattr("scalecli.cli.output.examples.stdout_color", lambda: True)
    print_examples(iter([batch]), vocabulary, 1)
    assert "\x1b[35m\x1b[1m<extra_id_0>\x1b[0m" in capsys.readouterr().out
