"""Pretraining on Parquet shards, row group by row group: killed and resumed, it has an undisturbed run's losses."""

import signal
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet
import pytest

from scalecli.manifest import load_manifest
from scalecli.runs.text import source as text
from tests.runs.conftest import command, documents, metrics
from tests.runs.stopping.test_resuming import IN_A_LINE_OF_METRICS, PROGRAM


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    texts = list(documents(900))
    texts[7] = None
    for number in range(3):
        rows = texts[300 * number : 300 * (number + 1)]
        table = pa.table({"url": ["u"] * 300, "body": rows})
        pa.parquet.write_table(table, folder / f"train-{number:05d}-of-00003.parquet", row_group_size=110)
    return folder / "*.parquet"


def arguments(material, shards, directory, **options):
    return material.pretraining(directory, text=shards, text_field="body", **{"steps": 12, **options})


def test_killed_and_resumed_shards_give_the_same_losses(material, shards, signalled, tmp_path, monkeypatch):
    monkeypatch.setattr(text, "STREAMED_FROM", 100)
    ran = command(*arguments(material, shards, tmp_path / "whole"))
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path / "whole")
    assert (manifest.data.kind, manifest.data.documents, manifest.data.tokens) == ("text", 900, None)
    null, epoch = manifest.warnings
    assert null.startswith("documents left out, whose text is null or empty: 1, the first at") and null.endswith(":8")
    assert epoch.startswith("an epoch reads about ") and ran.err.count(null) == 1
    signalled(signal.SIGTERM, 5)
    assert command(*arguments(material, shards, tmp_path / "twice")).code == 130
    signalled(signal.SIGTERM, -1)
    streamed = "from scalecli.runs.text import source\nsource.STREAMED_FROM = 100\n"
    program = PROGRAM.format(streamed + IN_A_LINE_OF_METRICS)
    ran = subprocess.run([sys.executable, "-c", program, *arguments(material, shards, tmp_path / "twice")], timeout=120)
    assert ran.returncode == -signal.SIGKILL
    ran = command(*arguments(material, shards, tmp_path / "twice"))
    assert ran.code == 0, ran.err
    assert metrics(tmp_path / "twice") == metrics(tmp_path / "whole")


def test_few_rows_are_tokenised_as_a_whole(material, shards, tmp_path):
    ran = command(*arguments(material, shards, tmp_path, steps=1))
    assert ran.code == 0, ran.err
    manifest = load_manifest(tmp_path)
    assert manifest.data.documents == 900 - 18 - 1 and manifest.data.tokens > 10_000
    assert len(manifest.warnings) == 1


def test_a_field_that_is_not_there(material, shards, tmp_path):
    line = command(*material.pretraining(tmp_path, text=shards), "--dry-run").failed(4)
    assert "no field 'text'; it has 'url', 'body'; --text-field names another one" in line
    line = command(*material.pretraining(tmp_path, text=None, text_field="x")).failed(3)
    assert line == "--text-field goes with --text or --dataset"
