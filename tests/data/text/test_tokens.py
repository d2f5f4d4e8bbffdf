import numpy as np
import pytest

from scalecli.data.text import tokens as module
from scalecli.data.text.corpora import Corpus
from scalecli.data.text.tokens import TokenStore, cut_to_window
from scalecli.errors import MissingError, ScalecliError
from tests.data.conftest import sentences


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "text.txt").write_text("\n".join(sentences(200)))
    return Corpus.from_text([tmp_path / "text.txt"], split="all")


def test_the_store_is_the_documents_end_to_end(corpus, vocabulary, tmp_path):
    heard = []
    store = TokenStore.build(
        corpus, vocabulary, cache_directory=tmp_path, on_progress=lambda *counts: heard.append(counts)
    )
    expected = [token for document in sentences(200) for token in vocabulary.encode(document)]
    assert store.array.tolist() == expected and store.array.dtype == np.int32
    assert store.tensor().numpy().tolist() == expected
    assert (store.documents, store.tokens) == (200, len(expected)) == heard[-1]
    assert [documents for documents, _ in heard] == [64, 128, 192, 200]


def test_a_store_that_ends_where_it_has_enough(corpus, vocabulary, tmp_path):
    whole = TokenStore.build(corpus, vocabulary, cache_directory=tmp_path)
    part = TokenStore.build(corpus, vocabulary, cache_directory=tmp_path, at_least=whole.tokens // 3)
    assert part.documents == 128 and part.array.tolist() == whole.array[: part.tokens].tolist()
    lengths = [len(vocabulary.encode(document)) for document in sentences(128)]
    assert part.squares == sum(length**2 for length in lengths)
    first = TokenStore.build(corpus.first(128), vocabulary, cache_directory=tmp_path)
    assert (first.array == part.array).all()


def test_the_store_is_made_once(corpus, vocabulary, tmp_path, monkeypatch):
    first = TokenStore.build(corpus, vocabulary, cache_directory=tmp_path)
    monkeypatch.setattr(module, "_write", None)
    assert TokenStore.build(corpus, vocabulary, cache_directory=tmp_path) == first


def test_an_error_leaves_nothing_behind(vocabulary, tmp_path):
    path = tmp_path / "text.txt"
    path.write_bytes(b"fine\n" * 100 + b"\xff\n")
    with pytest.raises(MissingError, match=r"text\.txt:101: not UTF-8"):
        TokenStore.build(Corpus.from_text([path]), vocabulary, cache_directory=tmp_path / "cache")
    assert not [file for file in (tmp_path / "cache").rglob("*") if file.is_file()]


def test_unwritable_and_damaged_caches_are_named(corpus, vocabulary, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScalecliError, match="can't be written"):
        TokenStore.build(corpus, vocabulary, cache_directory=tmp_path / "file")
    store = TokenStore.build(corpus, vocabulary, cache_directory=tmp_path)
    store.path.write_bytes(store.path.read_bytes()[:200])
    with pytest.raises(MissingError, match="delete it"):
        _ = TokenStore.build(corpus, vocabulary, cache_directory=tmp_path).array


def test_long_documents_give_one_window():
    import tensorflow as tf

    lengths = [3, 30, 10, 500]
    ragged = tf.ragged.range(lengths)
    seen = set()
    for batch in range(40):
        tokens, kept = cut_to_window(ragged, tf.constant(batch, tf.int64), window=10)
        assert kept.numpy().tolist() == [3, 10, 10, 10]
        parts = np.split(tokens.numpy(), np.cumsum(kept.numpy())[:-1])
        assert all((np.diff(part) == 1).all() for part in parts)
        assert parts[0].tolist() == [0, 1, 2] and parts[2].tolist() == list(range(10))
        seen.add(int(parts[1][0]))
        again, _ = cut_to_window(ragged, tf.constant(batch, tf.int64), window=10)
        assert again.numpy().tolist() == tokens.numpy().tolist()
    assert min(seen) < 4 and max(seen) > 16 and max(seen) <= 20
