import pytest

from scalecli.data.text.trainer import _share, train
from scalecli.data.text.vocabulary_training import train_vocabulary
from tests.data.conftest import sentences

OPTIONS = {"model_type": "unigram", "pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1, "num_threads": 2}


def test_the_model_is_the_one_that_sentencepiece_trains_here():
    import io

    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(sentences(300)), model_writer=model, vocab_size=80, minloglevel=3, **OPTIONS
    )
    assert train(sentences(300), 80, OPTIONS, lambda text, share: None) == model.getvalue()


def test_progress_is_that_of_the_rounds_in_which_candidates_are_pruned(tmp_path):
    heard = []
    train_vocabulary(sentences(2_000), 40, tmp_path / "v", lambda *work: heard.append(work))
    (first, nothing), *rounds = heard
    assert (first, nothing) == ("looking for candidates for a vocabulary of 40 pieces", None)
    left = [int(text.split()[3].replace(",", "")) for text, _ in rounds]
    shares = [share for _, share in rounds]
    assert left == sorted(left, reverse=True) and shares == sorted(shares) and shares[0] == 0
    assert all(
        text == f"training a vocabulary: {count:,} candidates left"
        for (text, _), count in zip(rounds, left, strict=True)
    )


def test_the_share_of_the_rounds():
    assert (_share(1_000, 1_000, 100), _share(1_000, 110, 100)) == (0, 1)
    assert _share(1_000, 331, 100) == pytest.approx(0.5, abs=0.01)  # the square root of 9.09 times less
    assert _share(100, 100, 100) is None  # nothing is to be pruned


def test_modules_in_the_working_directory_are_none(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit('not this one')")
    (tmp_path / "sentencepiece.py").write_text("raise SystemExit('nor this one')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [path for path in __import__("sys").path if path])
    assert train_vocabulary(sentences(300), 80, tmp_path / "v").pieces == 80
