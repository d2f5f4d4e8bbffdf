import gzip
import json

import pytest

from scalecli.data.text import docstrings
from scalecli.data.text.corpora import Corpus, text_documents
from scalecli.errors import ConfigurationError, MissingError


def test_text_jsonl_gz_and_globs(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufeffone\r\n\n  two \nünï\u2028x".encode())
    (tmp_path / "b.jsonl").write_text(json.dumps({"text": "three\nlines"}) + "\n" + json.dumps({"text": ""}) + "\n")
    (tmp_path / "c.txt.gz").write_bytes(gzip.compress(b"four\n" + b"x" * 1_000_000))
    (tmp_path / "d[1].txt").write_text("five")
    (tmp_path / "c4-train.00000-of-01024.json.gz").write_bytes(gzip.compress(b'{"text": "six", "url": "u"}\n'))
    found = list(text_documents([tmp_path / "*.txt*", str(tmp_path / "b.jsonl"), tmp_path / "c4-*.json.gz"]))
    assert found == ["one", "two", "ünï\u2028x", "four", "x" * 1_000_000, "five", "three\nlines", "six"]
    assert list(text_documents([tmp_path / "d[1].txt"])) == ["five"]


def test_fsspec_url():
    import fsspec

    with fsspec.open("memory://corpus/a.txt", "wb") as file:
        file.write(b"hello\n")
    corpus = Corpus.from_text(["memory://corpus/*.txt"], split="all")
    assert list(corpus.documents()) == ["hello"]
    with fsspec.open("memory://corpus/b.txt", "wb") as file:
        file.write(b"fine\n\xff\n")
    with pytest.raises(MissingError, match=r"^memory:///?corpus/b\.txt:2: not UTF-8"):
        list(text_documents(["memory://corpus/b.txt"]))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", b"fine\n\xff\xfe\n", r"a\.txt:2: not UTF-8"),
        ("a.txt", b"\n \n", r"a\.txt: no text"),
        ("a.txt.gz", b"plain", r"a\.txt\.gz"),
        ("a.txt.gz", gzip.compress(b"cut short" * 1_000)[:40], r"a\.txt\.gz"),
        ("a.jsonl", b'{"text": "x"}\n{"body": "x"}\n', r"a\.jsonl:2: no field 'text'.*'body'"),
        ("a.jsonl", b"{'text'}\n", r"a\.jsonl:1: not JSON"),
        ("a.jsonl", b'{"text": 3}\n', r"a\.jsonl:1: 'text' is 3, not a string"),
    ],
)
def test_bad_text_is_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(MissingError, match=message) as raised:
        list(text_documents([tmp_path / name]))
    assert "\n" not in str(raised.value)


def test_missing_files_are_named(tmp_path):
    with pytest.raises(MissingError, match=r"\*\.txt: no file matches"):
        Corpus.from_text([tmp_path / "*.txt"])
    with pytest.raises(MissingError, match="it is a folder"):
        Corpus.from_text([tmp_path])
    with pytest.raises(MissingError, match="nowhere"):
        Corpus.from_text(["nowhere://x"])


def test_held_out_documents_are_disjoint_and_complete(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("\n".join(map(str, range(120))))
    splits = {split: list(Corpus.from_text([path], split).documents()) for split in ("train", "validation", "all")}
    assert splits["validation"] == ["0", "50", "100"]
    assert sorted(splits["train"] + splits["validation"], key=int) == splits["all"]
    path.write_text("only")
    with pytest.raises(MissingError, match="'train'"):
        list(Corpus.from_text([path]).documents())
    with pytest.raises(ConfigurationError, match="choose train"):
        Corpus.from_text([path], "test")


def test_identity_is_the_content(tmp_path):
    for name, text in (("a.txt", "x\ny"), ("b.txt", "x\ny"), ("c.txt", "x\nz"), ("d.jsonl", "x\ny")):
        (tmp_path / name).write_text(text)
    a, b, c, d = (Corpus.from_text([path]).identity for path in sorted(tmp_path.iterdir()))
    assert a == b and len({a, c, d}) == 3
    assert Corpus.from_text([tmp_path / "a.txt"], "validation").identity == a


def package_tree(root):
    long = "This sentence says what the function does, and it goes on for a while. " * 4
    (root / "beta" / "tests").mkdir(parents=True)
    (root / "beta" / "one.py").write_text(f'raise SystemExit\ndef f():\n    """{long}\n\n       Indented.\n    """\n')
    (root / "beta" / "two.py").write_text(f'"""{long}\n\nIndented."""\nclass C:\n    """Short."""\n')
    (root / "beta" / "bad.py").write_text(f'def (:\n    """{long}"""\n')
    (root / "beta" / "tests" / "t.py").write_text(f'"""{long} In a test."""\n')
    (root / "alpha.py").write_text(f'"""{long} Alone."""\n')
    return " ".join(long.split())


def test_docstrings(tmp_path, monkeypatch):
    long = package_tree(tmp_path / "site")
    monkeypatch.setattr(docstrings, "_roots", lambda: [tmp_path / "site"])
    expected = [("alpha", f"{long} Alone."), ("beta", f"{long} Indented.")]
    assert [(d.package, d.text) for d in docstrings.docstring_documents()] == expected
    cache = tmp_path / "cache"
    corpus = Corpus.embedded(cache, split="all")
    assert list(corpus.documents()) == [text for _, text in expected]
    (tmp_path / "site" / "alpha.py").unlink()  # the same packages are installed, so the cache holds
    assert Corpus.embedded(cache, split="all").identity == corpus.identity
    (tmp_path / "site" / "gamma-1.0.dist-info").mkdir()
    assert Corpus.embedded(cache, split="all").identity != corpus.identity


def test_a_package_has_a_bounded_share(tmp_path, monkeypatch):
    (tmp_path / "big").mkdir()
    for n in range(40):
        (tmp_path / "big" / f"m{n:02}.py").write_text(f'"""{"words and more " * 20}{n}"""')
    monkeypatch.setattr(docstrings, "_roots", lambda: [tmp_path])
    monkeypatch.setattr(docstrings, "_MOST_CHARACTERS_PER_PACKAGE", 2_000)
    assert sum(len(d.text) for d in docstrings.docstring_documents()) < 2_400
    monkeypatch.setattr(docstrings, "_MOST_FILES_PER_PACKAGE", 4)
    monkeypatch.setattr(docstrings, "_MOST_CHARACTERS_PER_PACKAGE", 10**9)
    assert len(list(docstrings.docstring_documents())) == 4


def test_tensorflow_datasets(tmp_path):
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def store(name, feature, texts):
        folder = tmp_path / name / "1.0.0"
        folder.mkdir(parents=True)
        features = tfds.features.FeaturesDict({feature: tfds.features.Text()})
        files = tfds.core.ShardedFileTemplate(folder, dataset_name=name, split="train", filetype_suffix="tfrecord")
        with tf.io.TFRecordWriter(str(folder / f"{name}-train.tfrecord-00000-of-00001")) as file:
            for text in texts:
                file.write(features.serialize_example({feature: text}))
        split = tfds.core.SplitInfo(name="train", shard_lengths=[len(texts)], num_bytes=0, filename_template=files)
        tfds.folder_dataset.write_metadata(data_dir=folder, features=features, split_infos=[split])

    store("small_text", "text", ["one", "", "two"])
    corpus = Corpus.from_dataset("small_text", data_dir=str(tmp_path))
    assert list(corpus.documents()) == ["one", "two"] and len(corpus.identity) == 64
    assert list(Corpus.from_dataset("small_text", "train[:1]", str(tmp_path)).documents()) == ["one"]
    with pytest.raises(MissingError, match=r"no split 'trian'.*'train'"):
        Corpus.from_dataset("small_text", "trian", str(tmp_path))
    store("no_text", "body", ["one"])
    with pytest.raises(ConfigurationError, match="no feature 'text'; it has body"):
        Corpus.from_dataset("no_text", data_dir=str(tmp_path))
    with pytest.raises(MissingError, match=r"c4/en: not found under .*--data-dir"):
        Corpus.from_dataset("c4/en", data_dir=str(tmp_path))
    with pytest.raises(MissingError, match="did you mean 'imdb_reviews'"):
        Corpus.from_dataset("imdb_review", data_dir=str(tmp_path))
