import shutil
from dataclasses import replace

import numpy as np
import pytest

from scalecli.data.datasets import open_split, readable
from scalecli.data.text import streams
from scalecli.data.text.corpora import Corpus
from scalecli.data.text.span_corruption import SpanCorruption
from scalecli.data.text.streams import TextStream
from scalecli.errors import MissingError
from tests.data.conftest import sentences
from tests.datasets import prepare

OBJECTIVE = SpanCorruption(32)
WINDOW = 40
DOCUMENTS = [110, 95, 80]  # by shard: windows of 40, 40, 30; 40, 40, 15; 40, 40
BATCH = 4


def text_of(number):
    return f"{sentences(1, seed=number)[0]} {number}"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    numbers = iter(range(10_000))
    shards = [[{"url": "u", "text": text_of(next(numbers))} for _ in range(count)] for count in DOCUMENTS]
    prepare(folder, "c4/en", {"url": tfds.features.Text(), "text": tfds.features.Text()}, shards, version="3.0.1")
    return folder


@pytest.fixture(scope="module")
def stream(data_dir, vocabulary, tmp_path_factory):
    return opened(data_dir, "train", vocabulary, tmp_path_factory.mktemp("cache"))


def opened(data_dir, split, vocabulary, cache):
    corpus = Corpus.from_dataset("c4/en", split, str(data_dir))
    return TextStream.open(corpus, vocabulary, cache_directory=cache, window=WINDOW)


def batches(stream, count, *, seed=1, start_step=0, batch=BATCH):
    found = stream.batches(OBJECTIVE, batch=batch, seed=seed, start_step=start_step)
    return list(found.take(count).as_numpy_iterator())


def epoch_size(stream):
    windows = np.array([40, 40, 30, 40, 40, 15, 40, 40])
    return int(stream.segments(windows, OBJECTIVE).sum())


def restored(example, size, pieces):
    """The segment that an example was made of: spans of the targets put where their sentinels are in the inputs."""
    spans, targets = {}, example["targets"].tolist()
    for token in targets[: targets.index(1)]:
        if token >= pieces:
            span = spans.setdefault(size - 1 - token, [])
        else:
            span.append(token)
    found, k = [], 0
    for token in example["inputs"].tolist()[:-1]:
        if token >= pieces:
            # The k-th sentinel of the targets stands for the text before its noise, so noise k follows it.
            found += spans[k]
            k += 1
        else:
            found.append(token)
    return tuple(found)


def segments_of(stream, count, **options):
    size, pieces = stream.vocabulary.size, stream.vocabulary.pieces
    rows = [{k: v[i] for k, v in b.items()} for b in batches(stream, count, **options) for i in range(len(b["inputs"]))]
    return [restored(row, size, pieces) for row in rows]


def test_shapes_and_lengths(stream):
    (batch,) = batches(stream, 1)
    assert batch["inputs"].shape == (BATCH, 32) and batch["targets"].shape == (BATCH, OBJECTIVE.targets_length)
    assert batch["inputs"].dtype == np.int32 and (batch["inputs"][:, -1] == 1).all()


def test_segments_are_cut_from_the_joined_documents(stream):
    """Every segment stands in the tokens of a window: documents of a shard, tokenised, with nothing between them."""
    joined, number = [], 0
    for documents in DOCUMENTS:
        for start in range(0, documents, WINDOW):
            count = min(WINDOW, documents - start)
            joined.append([t for n in range(number, number + count) for t in stream.vocabulary.encode(text_of(n))])
            number += count
    length = OBJECTIVE.segment_length
    whole = {tuple(window[i : i + length]) for window in joined for i in range(0, len(window) - length + 1, length)}
    assert set(segments_of(stream, 20)) <= whole


def test_no_segment_comes_twice_in_an_epoch(stream):
    size = epoch_size(stream)
    assert size > 60
    first, second = segments_of(stream, size, batch=1), segments_of(stream, 2 * size, batch=1)[size:]
    assert len(set(first)) == len(set(second)) == size
    assert first != second and set(first) & set(second)


def test_a_batch_is_a_function_of_seed_and_step(stream):
    epoch = epoch_size(stream) // BATCH
    whole = batches(stream, 2 * epoch)
    for start in (1, epoch // 2, epoch - 1, epoch + 5):
        later = batches(stream, 2, start_step=start)
        assert all((a[key] == b[key]).all() for a, b in zip(whole[start:], later, strict=False) for key in a), start
    other = batches(stream, 1, seed=2)
    assert (whole[0]["inputs"] != other[0]["inputs"]).any()


def test_going_on_does_not_read_from_the_beginning(stream, data_dir, tmp_path):
    """Shards that are done are not opened: they may be gone."""
    shutil.copytree(data_dir / "c4", tmp_path / "c4")
    steps = epoch_size(stream) // BATCH
    last = batches(stream, 1, start_step=steps - 1)
    copied = replace(stream, split=open_split("c4/en", "train", str(tmp_path)))
    opened = []
    for path, _, _ in copied.split.shards():
        (tmp_path / "kept").mkdir(exist_ok=True)
        kept = shutil.move(path, tmp_path / "kept")
        try:
            found = batches(copied, 1, start_step=steps - 1)
            assert (found[0]["inputs"] == last[0]["inputs"]).all()
        except Exception:
            opened.append(path)
        shutil.move(kept, path)
    assert len(opened) == 1


def test_parts_of_splits(stream, data_dir, vocabulary, tmp_path):
    part = opened(data_dir, "train[1shard:]", vocabulary, tmp_path)
    assert part.documents == sum(DOCUMENTS[1:])
    own = {tuple(stream.vocabulary.encode(text_of(n))) for n in range(DOCUMENTS[0], sum(DOCUMENTS))}
    joined = {token for document in own for token in document}
    assert {token for segment in segments_of(part, 10) for token in segment} <= joined


def test_the_field_that_is_named_is_streamed(data_dir, vocabulary, tmp_path):
    corpus = Corpus.from_dataset("c4/en", "train", str(data_dir), "url")
    urls = TextStream.open(corpus, vocabulary, cache_directory=tmp_path, window=WINDOW)
    tokens = vocabulary.encode("u")
    assert {token for segment in segments_of(urls, 3) for token in segment} == set(tokens)


def test_too_few_documents(data_dir, vocabulary, tmp_path):
    few = opened(data_dir, "train[:2]", vocabulary, tmp_path)
    with pytest.raises(MissingError, match=r"c4/en/3\.0\.1: 2 documents in 1 shards are too few"):
        few.check(SpanCorruption(512))


@pytest.mark.parametrize("keep", [0.4, 0.97])
def test_damaged_shards_end_the_stream(stream, data_dir, tmp_path, keep):
    import tensorflow as tf

    shutil.copytree(data_dir / "c4", tmp_path / "c4")
    for path in (tmp_path / "c4").rglob("*.tfrecord-*"):
        content = path.read_bytes()
        path.write_bytes(content[: int(len(content) * keep)])
    damaged = replace(stream, split=open_split("c4/en", "train", str(tmp_path)))
    with pytest.raises(MissingError, match="dataset c4/en: a file cannot be read"), readable("c4/en"):
        batches(damaged, 60)
    # Whole records, but too few of them.
    for path in (tmp_path / "c4").rglob("*.tfrecord-*"):
        with tf.io.TFRecordWriter(str(path)) as file:
            file.write(tf.train.Example().SerializeToString())
    with (
        pytest.raises(MissingError, match=r"cannot be read \(a shard has fewer examples than its dataset says\)"),
        readable("c4/en"),
    ):
        batches(damaged, 60)


@pytest.mark.parametrize("kind", ["array_record", "parquet", "text in parquet"])
def test_other_formats_give_what_tfrecord_gives(stream, data_dir, vocabulary, tmp_path, kind):
    """From any step on, and with shards that are done no longer there."""
    import pyarrow as pa
    import pyarrow.parquet
    import tensorflow_datasets as tfds

    numbers = iter(range(10_000))
    shards = [[{"text": text_of(next(numbers))} for _ in range(count)] for count in DOCUMENTS]
    if kind == "text in parquet":
        for n, rows in enumerate(shards):  # row groups across windows, as a writer of other tools leaves them
            pa.parquet.write_table(pa.Table.from_pylist(rows), tmp_path / f"{n}.parquet", row_group_size=33)
        corpus = Corpus.from_text([tmp_path / "*.parquet"], "all")
    else:
        prepare(tmp_path, "c4/en", {"text": tfds.features.Text()}, shards, version="3.0.1", file_format=kind)
        corpus = Corpus.from_dataset("c4/en", "train", str(tmp_path))
    other = TextStream.open(corpus, vocabulary, cache_directory=tmp_path, window=WINDOW)
    steps = epoch_size(stream) // BATCH
    expected = batches(stream, steps + 6)
    for start in (0, 3, steps - 2, steps + 1):
        found = batches(other, 4, start_step=start)
        assert all((a[key] == b[key]).all() for a, b in zip(expected[start:], found, strict=False) for key in a), start


def test_parquet_holds_rows_out_of_a_stream(vocabulary, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    texts = [None if number == 3 else text_of(number) for number in range(100)]
    pa.parquet.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=30)
    split = Corpus.from_text([tmp_path / "a.parquet"], "train").shards
    ((path, start, count),) = split.shards()
    found = [text.numpy().decode() for text in split.records(path, start, count)]
    assert found == ["" if number in (0, 3, 50) else text for number, text in enumerate(texts)]
    assert [text.numpy() for text in split.records(path, 98, 7)] == [text.encode() for text in texts[98:]]


def test_a_damaged_parquet_shard_ends_the_stream_in_one_line(vocabulary, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet

    texts = [text_of(number) for number in range(200)]
    pa.parquet.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", row_group_size=50, use_dictionary=False)
    corpus = Corpus.from_text([tmp_path / "a.parquet"], "all")
    stream = TextStream.open(corpus, vocabulary, cache_directory=tmp_path, window=WINDOW)
    content = bytearray((tmp_path / "a.parquet").read_bytes())
    content[len(content) // 2 : len(content) // 2 + 300] = b"\xff" * 300
    (tmp_path / "a.parquet").write_bytes(content)
    with pytest.raises(MissingError, match=r"a\.parquet.*(cannot be read|not UTF-8)") as raised, readable("a.parquet"):
        batches(stream, 60)
    assert "\n" not in str(raised.value)


def test_windows_of_long_texts_have_fewer_of_them(vocabulary, tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet

    monkeypatch.setattr(streams, "_WINDOW_BYTES", 10_000)
    pa.parquet.write_table(pa.table({"text": [text_of(n) for n in range(300)]}), tmp_path / "a.parquet")
    corpus = Corpus.from_text([tmp_path / "a.parquet"], "all")
    stream = TextStream.open(corpus, vocabulary, cache_directory=tmp_path)
    assert stream.window == 10_000 // (corpus.shards.bytes // 300) < 300


def test_all_of_a_long_document_is_in_its_window(vocabulary):
    import tensorflow as tf

    long = " ".join(text_of(n) for n in range(500))
    assert streams.PIECE < len(long) < 2 * streams.PIECE
    parts = streams._in_pieces(tf.constant(["short", long]))
    assert len(parts) == 3 and b" ".join(parts.numpy()[1:]).decode() == long
    assert streams._in_pieces(tf.constant(["short", "other"])).numpy().tolist() == [b"short", b"other"]


def test_how_much_an_epoch_reads(stream):
    tokens = sum(len(stream.vocabulary.encode(text_of(n))) for n in range(sum(DOCUMENTS)))
    share = stream.read_in_an_epoch(OBJECTIVE)
    assert share == pytest.approx(epoch_size(stream) * OBJECTIVE.segment_length / tokens, rel=0.05)


def test_speed_is_a_number(stream):
    assert stream.tokens_per_second(OBJECTIVE) > 0


def test_an_abandoned_iterator_does_not_hang(stream):
    for _ in range(3):
        iterator = stream.batches(OBJECTIVE, batch=2, seed=1).as_numpy_iterator()
        next(iterator)
        del iterator
