import pytest

from scalecli.data.datasets import open_dataset, open_split, readable
from scalecli.errors import ConfigurationError, MissingError
from tests.datasets import prepare


@pytest.fixture
def data_dir(tmp_path):
    import tensorflow_datasets as tfds

    features = {"text": tfds.features.Text()}
    for version in ("2.9.0", "2.10.0"):
        shards = [[{"text": f"{version} {shard}{n}"} for n in range(3)] for shard in "abc"]
        prepare(tmp_path, "set/small", features, shards, version=version)
    return str(tmp_path)


def texts(found):
    return [row["text"] for row in found.rows()]


def test_the_latest_version_or_the_one_that_is_named(data_dir):
    found = open_split("set/small", "train", data_dir)
    assert found.identity == "set/small/2.10.0" and texts(found)[0] == "2.10.0 a0" and found.examples == 9
    found = open_split("set/small:2.9.0", "train", data_dir)
    assert found.identity == "set/small/2.9.0" and texts(found)[0] == "2.9.0 a0"
    assert open_split("set/small/2.9.0", "train", data_dir).identity == "set/small/2.9.0"
    with pytest.raises(MissingError, match=r"dataset set/small[:/]2\.8\.0"):
        open_split("set/small/2.8.0", "train", data_dir)
    with pytest.raises(MissingError, match=r"dataset set/small:2\.8\.0"):
        open_split("set/small:2.8.0", "train", data_dir)


@pytest.mark.parametrize(
    ("split", "expected", "shards"),
    [
        ("train[2:5]", ["a2", "b0", "b1"], [(2, 1), (0, 2)]),
        ("train[1shard:]", ["b0", "b1", "b2", "c0", "c1", "c2"], [(0, 3), (0, 3)]),
        ("train[:1shard]", ["a0", "a1", "a2"], [(0, 3)]),
    ],
)
def test_parts_of_splits_and_choice_of_shards(data_dir, split, expected, shards):
    found = open_split("set/small", split, data_dir)
    assert [text.split()[1] for text in texts(found)] == expected
    assert [(skip, take) for _, skip, take in found.shards()] == shards


def test_what_is_not_there(data_dir, monkeypatch):
    with pytest.raises(MissingError, match=r"no split 'tain'; it has train; did you mean 'train'"):
        open_split("set/small", "tain", data_dir)
    with pytest.raises(MissingError, match=r"dataset c4/en: not found under .*tfds build c4/en"):
        open_dataset("c4/en", data_dir)
    with pytest.raises(MissingError, match="did you mean 'glue'"):
        open_dataset("gleu", data_dir)
    with pytest.raises(MissingError, match=r"dataset glue/mprc: it has .*did you mean 'mrpc'"):
        open_dataset("glue/mprc", data_dir)
    monkeypatch.setenv("TFDS_DATA_DIR", data_dir)
    assert texts(open_split("set/small", "train", None, download=True))[0] == "2.10.0 a0"


def test_a_download_that_fails_and_one_that_is_too_large(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds.core.constants, "DATA_DIR", str(tmp_path))

    def fail(self, **options):
        raise OSError("no route to host\nmore")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", fail)
    with pytest.raises(MissingError, match=r"glue/rte: can't be downloaded \(no route to host\); prepare it with"):
        open_split("glue/rte", "train", None, download=True)
    with pytest.raises(MissingError, match="c4/en: too large to be prepared here"):
        open_split("c4/en", "train", None, download=True)
    with pytest.raises(MissingError, match="by hand"):
        open_split("xsum", "train", None, download=True)


def test_other_file_formats_are_refused(data_dir, monkeypatch):
    import tensorflow_datasets as tfds

    monkeypatch.setattr(tfds.core.DatasetInfo, "file_format", tfds.core.FileFormat.RIEGELI)
    with pytest.raises(ConfigurationError, match="prepared as riegeli; accepted: tfrecord, array_record, parquet"):
        open_dataset("set/small", data_dir)


@pytest.mark.parametrize("file_format", ["array_record", "parquet"])
def test_array_record_and_parquet_are_read_as_tfrecord_is(tmp_path, file_format):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = {"text": tfds.features.Text(), "label": tf.int64}
    shards = [[{"text": f"{shard}{n}", "label": n} for n in range(300)] for shard in "abc"]
    found = {}
    for name in ("tfrecord", file_format):
        prepare(tmp_path / name, "set", features, shards, file_format=name)
        split = open_split("set", "train[298:900]", str(tmp_path / name))
        found[name] = list(split.rows())
        records = [split.records(path, start, count) for path, start, count in split.shards()]
        assert [sum(1 for _ in each) for each in records] == [2, 300, 300]
    assert found[file_format] == found["tfrecord"] and found["tfrecord"][2] == {"text": "b0", "label": 0}
    for path in (tmp_path / file_format).rglob(f"*{file_format}*-of-*"):
        path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(MissingError, match=f"{file_format}.*: cannot be read"):
        list(open_split("set", "train", str(tmp_path / file_format)).rows())


def test_a_text_that_is_not_utf_8_is_one_line():
    with (
        pytest.raises(MissingError, match=r"here: a text is not UTF-8") as caught,
        readable("here"),
    ):
        b"ab\xff".decode()
    assert "\n" not in str(caught.value)
