import io

import numpy as np
import pytest

from scalecli.data.text import vocabulary as module
from scalecli.data.text import vocabulary_training
from scalecli.data.text.pieces import EOS, PAD, UNKNOWN
from scalecli.data.text.vocabulary import (
    T5_SHA256,
    Vocabulary,
    load_vocabulary,
    planned_vocabulary,
    unknown_share,
    unknown_warning,
)
from scalecli.data.text.vocabulary_training import train_vocabulary
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


def test_sentinels_in_a_task_are_those_of_seqio(vocabulary):
    """As in SeqIO's own test: <extra_id_0> <extra_id_1> v <extra_id_9>, sentinels counted down from the last id."""
    text = vocabulary.encode("text")
    assert vocabulary.encode("<extra_id_0> <extra_id_1> text <extra_id_9>") == [179, 178, *text, 170]
    assert vocabulary.encode("the <extra_id_0> text") == [*vocabulary.encode("the"), 179, *text]
    assert vocabulary.decode([179, 178, *text, 170]) == "<extra_id_0> <extra_id_1> text <extra_id_9>"
    assert max(vocabulary.encode("a<extra_id_0>b <extra_id_100>")) < vocabulary.pieces
    assert not {PAD, EOS} & set(vocabulary.encode("</s> <pad> text</s>"))


def test_no_text_of_a_corpus_is_a_sentinel(vocabulary, own):
    for each in (vocabulary, own):
        ids = each.tokenizer().tokenize("the <extra_id_0> text </s> <pad>").numpy().tolist()
        assert not {PAD, EOS, *each.sentinels} & set(ids) and max(ids) < each.pieces
        assert each.sentinels[0] in each.encode("the <extra_id_0> text </s> <pad>")


@pytest.mark.parametrize("squeezed", [True, False])
def test_sentinels_without_a_space_before_the_text(tmp_path, squeezed):
    vocabulary = trained(tmp_path, add_dummy_prefix=False, remove_extra_whitespaces=squeezed)
    zero, one, *_ = vocabulary.sentinels
    ids = vocabulary.encode("<extra_id_0> the <extra_id_1> text")
    assert (ids[0], max(ids), ids.count(one)) == (zero, zero, 1) and zero == vocabulary.size - 1
    assert vocabulary.decode(ids).strip() == "<extra_id_0> the <extra_id_1> text"
    assert vocabulary.encode("the <extra_id_1> text") == [*vocabulary.encode("the"), *ids[-ids[::-1].index(one) - 1 :]]


def trained(folder, name="own.model", **options):
    """A vocabulary trained by SentencePiece itself with these options, loaded."""
    import sentencepiece

    with open(folder / name, "wb") as file:
        usual = {"vocab_size": 200, "pad_id": PAD, "eos_id": EOS, "unk_id": UNKNOWN, "bos_id": -1, "minloglevel": 3}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences(300)), model_writer=file, hard_vocab_limit=False, **{**usual, **options}
        )
    return load_vocabulary(str(folder / name), cache_directory=folder)


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A vocabulary that ends with its own sentinels, as mT5's 250,100 pieces do."""
    vocabulary = trained(
        tmp_path_factory.mktemp("own"), user_defined_symbols=[f"▁<extra_id_{n}>" for n in reversed(range(100))]
    )
    model = vocabulary.model()  # training puts symbols first; mT5's were added after it
    pieces = [*model.pieces[:3], *model.pieces[103:], *model.pieces[3:103]]
    del model.pieces[:]
    model.pieces.extend(pieces)
    vocabulary.path.with_name("last.model").write_bytes(model.SerializeToString())
    return load_vocabulary(str(vocabulary.path.with_name("last.model")), cache_directory=vocabulary.path.parent)


def test_a_model_with_sentinels_gets_no_second_hundred(own):
    assert own.size == own.pieces and own.sentinels == tuple(range(own.pieces - 1, own.pieces - 101, -1))
    assert own.encode("the <extra_id_0> <extra_id_99>")[-2:] == [own.pieces - 1, own.pieces - 100]
    assert own.decode(own.encode("<extra_id_0> the text")) == "<extra_id_0> the text"
    assert (own.piece(own.pieces - 1), own.piece(own.pieces - 100)) == ("<extra_id_0>", "<extra_id_99>")
    planned = planned_vocabulary(str(own.path))
    assert (planned.size, planned.rows, planned.sentinels) == (own.size, own.rows, own.sentinels)
    assert own.content == f"{own.size} ids ({own.size} pieces, 100 of them sentinels)"
    assert Vocabulary("unused", "", 250_100, tuple(range(250_099, 249_999, -1))).rows == 250_112  # mT5's


@pytest.mark.parametrize("kind", ["user_defined_symbols", "control_symbols"])
def test_sentinels_are_found_by_name_whatever_their_order(tmp_path, kind):
    vocabulary = trained(tmp_path, **{kind: ["<extra_id_0>", "<extra_id_1>", "<extra_id_2>"]})
    assert vocabulary.sentinels == (3, 4, 5) and vocabulary.size == vocabulary.pieces
    assert [token for token in vocabulary.encode("the <extra_id_1> text <extra_id_0>") if 3 <= token <= 5] == [4, 3]


def test_sentinels_that_begin_with_one_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="has a piece <extra_id_1> but no <extra_id_0>"):
        trained(tmp_path, user_defined_symbols=["<extra_id_1>", "<extra_id_2>"])


def test_graph_tokenizer_agrees(vocabulary):
    text = "noise  is cut, ünd again"
    assert vocabulary.tokenizer().tokenize(text).numpy().tolist() == vocabulary.encode(text)


def test_training_is_deterministic_and_bounded(tmp_path, monkeypatch):
    documents = sentences(300)
    first, second = (train_vocabulary(documents, 80, tmp_path / name) for name in ("a", "b"))
    assert first.sha256 == second.sha256 and first.pieces == 80
    monkeypatch.setattr(vocabulary_training, "_TRAINING_BYTES", 5_000)
    sample = vocabulary_training._even_sample(documents)
    assert 2_000 < sum(map(len, sample)) <= 5_000
    assert sample[1] != documents[1]
    assert sample[-1] in documents[-32:]


def test_every_character_is_a_piece_where_there_is_room(tmp_path):
    """Four characters of 40,000 are rarer than the 0.05% that SentencePiece leaves out."""
    rare = "? ! % ¿"
    documents = [*sentences(200), rare]
    characters = set("".join(documents).replace(" ", "▁"))
    roomy = train_vocabulary(documents, 2 * len(characters), tmp_path / "roomy")
    assert UNKNOWN not in roomy.encode(rare) and roomy.decode(roomy.encode(rare)) == rare
    tight = train_vocabulary(documents, 2 * len(characters) - 10, tmp_path / "tight")
    assert UNKNOWN in tight.encode(rare) and UNKNOWN not in tight.encode(documents[0])


def test_the_share_of_unknown_tokens():
    few, many = (np.array([UNKNOWN, *[7] * known], np.int32) for known in (999, 998))
    assert unknown_share([few]) == 0.001 and unknown_share([few, many]) == 2 / 1_999 and unknown_share([]) == 0
    assert unknown_warning("text", unknown_share([few])) == []
    (line,) = unknown_warning("text", 0.0123)
    assert line.startswith("text: 1.23% of the tokens are unknown")


def test_long_documents_lose_nothing():
    document = "x" * 2_500 + " " + "ab " * 1_000
    chunks = list(vocabulary_training._chunks(document))
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
    assert t5.encode("Hello <extra_id_0>.") == [8774, 32_099, 5]  # as transformers documents it, for legacy=False
