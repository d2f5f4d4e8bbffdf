"""The vocabulary that a pretraining run trains on its own text."""

import hashlib

from scalecli.data.text.vocabulary import train_vocabulary
from scalecli.manifest import load_manifest
from tests.runs.conftest import PIECES, command, documents


def test_the_vocabulary_of_an_attempt_that_failed_is_not_taken_up(place, tmp_path, no_training):
    directory = tmp_path / "run"
    directory.mkdir()
    left = train_vocabulary(["few words in one line"] * 60, 17, directory / "vocabulary.model")
    ran = command(*place.pretraining(directory, vocabulary=f"train:{PIECES}", steps=1))
    assert ran.code == 0, ran.err
    assert load_manifest(directory).data.vocabulary.pieces == PIECES
    assert hashlib.sha256((directory / "vocabulary.model").read_bytes()).hexdigest() != left.sha256


def test_a_vocabulary_is_trained_once_for_a_text(place, tmp_path, no_training):
    def trained(name, pieces, **options):
        options = {"vocabulary": f"train:{pieces}", "cache_directory": tmp_path / "cache", "steps": 1, **options}
        ran = command(*place.pretraining(tmp_path / name, **options))
        assert ran.code == 0, ran.err
        return "training a vocabulary" in ran.err, load_manifest(tmp_path / name).data.vocabulary.sha256

    other = tmp_path / "other.txt"
    other.write_text("".join(f"{document}\n" for document in documents(300, seed=1)))
    first, sha256 = trained("first", PIECES)
    assert first and trained("second", PIECES) == (False, sha256)
    assert trained("fewer", 150)[0] and trained("other", PIECES, text=other)[0]
