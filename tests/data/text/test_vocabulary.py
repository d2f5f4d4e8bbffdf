import io

import pytest

from scalecli.data.text import vocabulary as module
from scalecli.data.text.vocabulary import EOS, PAD, T5_SHA256, UNKNOWN, Vocabulary, load_vocabulary, train_vocabulary
from scalecli.errors import ConfigurationError, MissingError
from tests.data.conftest import sentences


def test_t5_sizes():
    vocabulary = Vocabulary("unused", "", 32_000)
    assert (vocabulary.size, vocabulary.rows) == (32_100, 32_128)


def test_round_trip_and_special_ids(vocabulary):
    text = "the model must read long text"
    ids = vocabulary.encode(text)
    assert min(ids) > UNKNOWN and max(ids) < vocabulary.pieces
    assert vocabulary.decode([PAD, *ids, EOS, ids[0]]) == text
    last = vocabulary.size - 1
    assert vocabulary.decode([last, *vocabulary.encode("text"), last - 1]) == "<extra_id_0> text <extra_id_1>"
    assert vocabulary.decode([vocabulary.size + 5]) == vocabulary.decode([UNKNOWN])


def test_graph_tokenizer_agrees(vocabulary):
    text = "noise  is cut, ünd again"
    assert vocabulary.tokenizer().tokenize(text).numpy().tolist() == vocabulary.encode(text)


def test_training_is_deterministic_and_bounded(tmp_path, monkeypatch):
    documents = sentences(300)
    first, second = (train_vocabulary(documents, 80, tmp_path / name) for name in ("a", "b"))
    assert first.sha256 == second.sha256 and first.pieces == 80
    monkeypatch.setattr(module, "_TRAINING_BYTES", 5_000)
    sample = module._even_sample(documents)
    assert 2_000 < sum(map(len, sample)) <= 5_000
    assert sample[1] != documents[1]
    assert sample[-1] in documents[-32:]


def test_long_documents_lose_nothing():
    document = "x" * 2_500 + " " + "ab " * 1_000
    chunks = list(module._chunks(document))
    assert "".join(chunks) == document and max(map(len, chunks)) <= 1_000


def test_corpus_too_small_names_the_largest_that_works(tmp_path):
    with pytest.raises(ConfigurationError, match=r"the most that it gives is (\d+)") as raised:
        train_vocabulary(sentences(20), 8_000, tmp_path / "v")
    assert not list(tmp_path.iterdir())
    most = int(str(raised.value).rpartition(" ")[2])
    assert train_vocabulary(sentences(20), most, tmp_path / "v").pieces == most
    with pytest.raises(ConfigurationError, match="at least"):
        train_vocabulary(sentences(20), 5, tmp_path / "w")
    with pytest.raises(ConfigurationError, match="positive"):
        train_vocabulary(sentences(20), 0, tmp_path / "w")
    with pytest.raises(MissingError, match="no text"):
        train_vocabulary([], 80, tmp_path / "w")


def test_load_copies_into_the_cache(vocabulary, tmp_path):
    loaded = load_vocabulary(str(vocabulary.path), cache_directory=tmp_path)
    assert loaded.sha256 == vocabulary.sha256 and loaded.pieces == vocabulary.pieces
    assert loaded.path.is_relative_to(tmp_path) and loaded.path.read_bytes() == vocabulary.path.read_bytes()


def test_load_refuses_what_is_no_vocabulary(tmp_path):
    with pytest.raises(MissingError, match="no such file"):
        load_vocabulary(str(tmp_path / "none.model"), cache_directory=tmp_path)
    (tmp_path / "bad.model").write_bytes(b"not a model")
    with pytest.raises(MissingError, match=r"bad\.model: not a SentencePiece model"):
        load_vocabulary(str(tmp_path / "bad.model"), cache_directory=tmp_path)


def test_load_refuses_other_special_ids(tmp_path):
    import sentencepiece

    with open(tmp_path / "other.model", "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences(100)), model_writer=file, vocab_size=60, minloglevel=3
        )
    with pytest.raises(ConfigurationError, match=r"pad, eos and unk"):
        load_vocabulary(str(tmp_path / "other.model"), cache_directory=tmp_path)


def test_t5_fetched_once_and_checked(vocabulary, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr(module.urllib.request, "urlopen", offline)
    with pytest.raises(MissingError, match="pass the file itself: --vocabulary"):
        load_vocabulary("t5", cache_directory=tmp_path)
    monkeypatch.setattr(module.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(b"other"))
    with pytest.raises(MissingError, match="isn't the published file"):
        load_vocabulary("t5", cache_directory=tmp_path)
    assert not list(tmp_path.rglob("*.model"))
    monkeypatch.setattr(module, "T5_SHA256", vocabulary.sha256)
    served = vocabulary.path.read_bytes()
    monkeypatch.setattr(module.urllib.request, "urlopen", lambda *_, **__: io.BytesIO(served))
    assert load_vocabulary("t5", cache_directory=tmp_path).pieces == 80
    monkeypatch.setattr(module.urllib.request, "urlopen", offline)
    assert load_vocabulary("t5", cache_directory=tmp_path).pieces == 80


def test_published_vocabulary(t5):
    assert (t5.sha256, t5.size, t5.rows) == (T5_SHA256, 32_100, 32_128)
    assert t5.encode("Hello world") == [8774, 296]
