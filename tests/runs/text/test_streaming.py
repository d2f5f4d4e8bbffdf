"""Pretraining on a TensorFlow dataset: in the cache where it is small, streamed where it is large."""

import shutil
import signal

import pytest

from scalecli.data.text.streams import TextStream
from scalecli.manifest import load_manifest
from scalecli.runs.text import source as text
from tests.datasets import prepare
from tests.runs.conftest import command, documents, metrics


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    import tensorflow_datasets as tfds

    folder = tmp_path_factory.mktemp("tfds")
    rows = [{"text": document} for document in documents(400)]
    for split, shards in (("train", [rows[:120], rows[120:240], rows[240:360]]), ("validation", [rows[360:]])):
        prepare(folder, "c4/en", {"text": tfds.features.Text()}, shards, split=split, version="3.0.1")
    return folder


@pytest.fixture
def streamed(monkeypatch):
    monkeypatch.setattr(text, "STREAMED_FROM", 100)


def arguments(material, data_dir, directory, **options):
    return material.pretraining(directory, text=None, dataset="c4/en", data_dir=data_dir, **{"steps": 12, **options})


def test_a_stream_is_trained_on_and_resumed(material, data_dir, streamed, signalled, tmp_path):
    ran = command(*arguments(material, data_dir, tmp_path / "whole"))
    assert ran.code == 0, ran.err
    assert "input pipeline: " in ran.err and "tokens/s" in ran.err
    data = load_manifest(tmp_path / "whole").data
    assert (data.name, data.kind, data.documents, data.tokens) == ("c4/en/3.0.1", "tfds", 360, None)
    signalled(signal.SIGTERM, 5)
    assert command(*arguments(material, data_dir, tmp_path / "twice")).code == 130
    signalled(signal.SIGTERM, -1)
    ran = command(*arguments(material, data_dir, tmp_path / "twice"))
    assert ran.code == 0, ran.err
    assert metrics(tmp_path / "twice") == metrics(tmp_path / "whole")


def test_a_small_one_is_tokenised_as_a_whole(material, data_dir, tmp_path):
    ran = command(
        *arguments(material, data_dir, tmp_path, steps=1, split="train[:1shard]", validation_split="train[350:]")
    )
    assert ran.code == 0, ran.err
    data = load_manifest(tmp_path).data
    assert data.documents == 120 and data.tokens > 1_000


def test_a_shard_that_is_cut_short(material, data_dir, streamed, tmp_path, monkeypatch):
    assert command(*arguments(material, data_dir, tmp_path / "run"), "--show-examples", 1).code == 0  # reads the sample
    shutil.copytree(data_dir, tmp_path / "tfds")
    for path in (tmp_path / "tfds").rglob("*train.tfrecord-*"):
        path.write_bytes(path.read_bytes()[:-20])
    monkeypatch.setattr(TextStream, "tokens_per_second", lambda self, objective: 1.0)  # which would find it first
    for more in ([], ["--show-examples", 200]):
        message = command(*arguments(material, tmp_path / "tfds", tmp_path / "run"), *more).failed(4)
        assert message.startswith("dataset c4/en/3.0.1: a file cannot be read (truncated record at"), message
    assert load_manifest(tmp_path / "run").status == "failed"


def test_what_is_not_there(material, data_dir, tmp_path):
    message = command(*arguments(material, data_dir, tmp_path, split="tran"), "--dry-run").failed(4)
    assert "dataset c4/en: no split 'tran'; it has train, validation; did you mean 'train'" in message
    message = command(*arguments(material, tmp_path, tmp_path / "run")).failed(4)
    assert "c4/en: not found under" in message and "tfds build c4/en" in message


@pytest.mark.parametrize("vocabulary", ["given", "train:200"])
def test_examples_are_shown_and_nothing_is_started(material, data_dir, streamed, tmp_path, vocabulary):
    options = {} if vocabulary == "given" else {"vocabulary": vocabulary}
    ran = command(*arguments(material, data_dir, tmp_path / "run", **options), "--show-examples", 3)
    assert ran.code == 0, ran.err
    assert ran.out.count("example ") == 3
    assert ran.out.count("inputs: 32 of 32 tokens") == 3 and "<extra_id_0>" in ran.out
    assert not (tmp_path / "run").exists()
