import gzip
import json
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from scalecli.data.sources import Remarks
from scalecli.data.text import tokens as module
from scalecli.data.text.corpora import Corpus
from scalecli.data.text.tokens import TokenStore
from scalecli.errors import MissingError, ScalecliError
from tests.data.conftest import sentences


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "text.txt").write_text("\n".join(sentences(200)))
    return Corpus.from_text([tmp_path / "text.txt"], split="all")


def test_the_store_is_the_documents_end_to_end(corpus, vocabulary, tmp_path):
    heard = []
    store = TokenStore.build(corpus, vocabulary, cache_directory=tmp_path, on_work=lambda *work: heard.append(work))
    expected = [token for document in sentences(200) for token in vocabulary.encode(document)]
    assert store.array.tolist() == expected and store.array.dtype == np.int32
    assert store.tensor().numpy().tolist() == expected
    assert (store.documents, store.tokens) == (200, len(expected))
    assert [text.split()[1] for text, _ in heard] == ["64", "128", "192", "200"]
    assert heard[-1] == (f"tokenized 200 documents, {len(expected):,} tokens", 1.0)


@pytest.mark.parametrize("suffix", ["txt", "jsonl", "json", "csv", "txt.gz", "parquet", "arrow"])
def test_the_share_of_a_corpus_that_has_been_read(tmp_path, suffix):
    """By the bytes of files as they lie on the disk, or the rows that a footer states; held-out ones count."""
    path, texts = tmp_path / f"text.{suffix}", [f"{n} " + "many words" * 2_000 for n in range(400)]
    rows = [{"text": text} for text in texts]
    if suffix == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
    elif suffix == "arrow":
        feather.write_feather(pa.Table.from_pylist(rows), path, compression="uncompressed", chunksize=20)
    elif suffix == "csv":
        path.write_text("".join(f"{text}\n" for text in ("text", *texts)))
    elif suffix == "json":
        path.write_text(json.dumps(rows))
    else:
        lines = "".join(f"{json.dumps(row) if suffix == 'jsonl' else row['text']}\n" for row in rows).encode()
        path.write_bytes(gzip.compress(lines) if suffix.endswith("gz") else lines)
    corpus, remarks = Corpus.from_text([path]), Remarks()
    shares = [corpus.share_read(remarks) for _ in corpus.documents(remarks)]
    assert shares == sorted(shares) and len(shares) == 392 and corpus.share_read(remarks) > 0.999
    if not suffix.endswith("gz"):  # of 40 kB, one block
        assert len(set(shares)) > 3 and 0.3 < shares[196] < 0.8


def test_a_store_of_so_many_tokens_says_how_near_it_is(vocabulary, tmp_path, monkeypatch):
    monkeypatch.setattr(module.os, "cpu_count", lambda: 1)  # so few documents are read ahead
    (tmp_path / "text.txt").write_text("\n".join(sentences(2_000)))
    build = partial(TokenStore.build, Corpus.from_text([tmp_path / "text.txt"], "all"), vocabulary)
    whole, heard = build(cache_directory=tmp_path), []
    build(cache_directory=tmp_path, at_least=whole.tokens // 2, on_work=lambda text, share: heard.append(share))
    assert heard == sorted(heard) and len(heard) == 16 and heard[-1] == 1.0
    assert heard[7] == pytest.approx(0.5, abs=0.1)


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


def test_a_cache_that_is_unwritable_or_changes_is_named(corpus, vocabulary, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScalecliError, match="can't be written"):
        TokenStore.build(corpus, vocabulary, cache_directory=tmp_path / "file")
    store = TokenStore.build(corpus, vocabulary, cache_directory=tmp_path)
    for content in (b"", store.path.read_bytes()[:20]):
        store.path.write_bytes(content)
        with pytest.raises(MissingError, match="changed since it was opened"):
            _ = TokenStore(store.path, store.documents, store.tokens).array


def test_all_of_a_long_document_is_read(vocabulary, tmp_path):
    """Pieces are cut between words, so that their tokens are those of the whole; a word of any length is read, too."""
    long, word = " ".join(sentences(900)), "the" * 40_000
    assert len(long) > 2 * module.PIECE and len(word) > module.PIECE
    (tmp_path / "text.txt").write_text(f"{long}\n{word}\n{sentences(1)[0]}\n")
    corpus = Corpus.from_text([tmp_path / "text.txt"], split="all")
    store = TokenStore.build(corpus, vocabulary, cache_directory=tmp_path)
    whole = vocabulary.encode(long)
    assert store.array[: len(whole)].tolist() == whole
    assert store.documents == 3 and "".join(module.pieces(word)) == word
    lengths = [len(whole), sum(len(vocabulary.encode(part)) for part in module.pieces(word))]
    lengths.append(len(vocabulary.encode(sentences(1)[0])))
    assert store.tokens == sum(lengths) and max(lengths) > module.COUNTED
    capped = [min(length, module.COUNTED) for length in lengths]
    assert (store.counted, store.squares) == (sum(capped), sum(length**2 for length in capped))


def test_memory_is_bounded_by_pieces():
    batches = list(module._batches(iter(["x" * 1_000_000, "", "a b " * 100_000] + ["y"] * 100)))
    assert max(sum(map(len, texts)) for texts, _ in batches) <= module._BATCH_CHARACTERS + module.PIECE
    assert max(len(texts) for texts, _ in batches) <= 64
    assert sum(sum(begins) for _, begins in batches) == 103


def test_what_was_left_out_is_kept_with_the_store(vocabulary, tmp_path):
    rows = [{"text": text} for text in sentences(3)]
    rows[1:1] = [{"text": None}, {"text": " "}]
    (tmp_path / "text.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    corpus = Corpus.from_text([tmp_path / "text.jsonl"], split="all")
    expected = f"documents left out, whose text is null or empty: 2, the first at {tmp_path / 'text.jsonl'}:2"
    for _ in range(2):  # the second time it comes from the cache
        store = TokenStore.build(corpus, vocabulary, cache_directory=tmp_path)
        assert list(store.remarks) == [expected] and store.documents == 3
