import dataclasses
import errno
import hashlib
import os
from pathlib import Path

import pytest
import yaml

from scalecli.errors import ConfigurationError, MissingError, ScalecliError
from scalecli.manifest import Parent, load_manifest, manifest_hash, save_manifest
from scalecli.storage.layout import manifest_path
from tests.manifests import example_manifest


def test_comes_back_equal_from_its_directory_and_its_file(tmp_path):
    manifest = example_manifest(parent=Parent(path="../base", sha256="cd" * 32, step=300), warnings=["slow"])
    path = save_manifest(manifest, tmp_path / "run")
    assert load_manifest(tmp_path / "run") == manifest
    assert load_manifest(path) == manifest
    assert manifest_hash(tmp_path / "run") == hashlib.sha256((tmp_path / "run" / "run.yaml").read_bytes()).hexdigest()


def test_the_file_is_plain_yaml_in_the_order_of_the_fields(tmp_path):
    manifest = example_manifest()
    plain = yaml.safe_load(Path(save_manifest(manifest, tmp_path)).read_text())
    present = [field.name for field in dataclasses.fields(manifest) if getattr(manifest, field.name) is not None]
    assert list(plain) == present
    assert plain["schema"] == 1
    assert plain["results"][300]["validation/negative_log_perplexity"] == -4.25
    assert plain["flops"]["training_total"] == 10**18


def test_a_bucket_works_as_a_directory():
    save_manifest(example_manifest(), "memory://runs/first/")
    assert load_manifest("memory://runs/first") == load_manifest("memory://runs/first/run.yaml") == example_manifest()


def damaged(tmp_path, old, new):
    path = save_manifest(example_manifest(), tmp_path)
    text = Path(path).read_text()
    assert text.count(old) == 1
    Path(path).write_text(text.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("schema: 1", "schema: 2", "schema 2 was written by a newer scalecli; this one reads up to schema 1"),
        ("schema: 1", "schema: one", "schema: expected 1, found 'one'"),
        ("schema: 1\n", "", "schema: expected 1, found None; is this a run manifest?"),
        ("batch: 32", "bach: 32", "unknown key 'bach'; did you mean 'batch'?"),
        ("batch: 32\n", "", "missing key 'batch'"),
        ("batch: 32", "batch: 0", "batch: expected at least 1, found 0"),
        ("steps: 300", "steps: many", "steps: expected a whole number, found 'many'"),
        ("    pieces: 8000", "    pieces: 8e3", "data.vocabulary.pieces: expected a whole number, found 8000.0"),
        ("status: completed", "status: done", "status: expected one of running, completed, failed, interrupted"),
        (
            "kind: text",
            "kind: txt",
            "data.kind: expected one of text, embedded, tfds, task, import, found 'txt'; did you mean",
        ),
        ("12:00:00+00:00", "12:00:00", "created: expected a UTC time such as"),
        ("13:00:00+00:00", "13:00:00+01:00", "finished: expected a UTC time such as"),
        ("  step: 300", "  step: 299", "best.step: no results for step 299"),
    ],
)
def test_damage_names_the_file_and_the_key(tmp_path, old, new, message):
    path = damaged(tmp_path, old, new)
    with pytest.raises(ConfigurationError) as info:
        load_manifest(path)
    assert str(info.value).startswith(f"{path}: ")
    assert message in str(info.value)


def test_times_may_end_in_z():
    assert example_manifest(finished="2022-07-21T13:00:00Z").finished == "2022-07-21T13:00:00Z"


def test_missing_manifests(tmp_path):
    with pytest.raises(MissingError, match=r"nothing: no such file"):
        load_manifest(tmp_path / "nothing")
    with pytest.raises(MissingError, match=r"no run\.yaml in this directory$"):
        load_manifest(tmp_path)
    save_manifest(example_manifest(), tmp_path / "a")
    with pytest.raises(MissingError, match=r"there are 1 runs below it, such as .*/a$"):
        manifest_path(tmp_path)


def test_a_full_disk_keeps_the_old_manifest(tmp_path, monkeypatch):
    save_manifest(example_manifest(status="running"), tmp_path)

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(ScalecliError, match="No space left"):
        save_manifest(example_manifest(), tmp_path)
    assert load_manifest(tmp_path).status == "running"
    assert os.listdir(tmp_path) == ["run.yaml"]


def test_what_could_not_be_read_again_is_not_written(tmp_path):
    with pytest.raises(ConfigurationError, match="batch: expected a whole number"):
        save_manifest(example_manifest(batch=32.5), tmp_path)
    assert os.listdir(tmp_path) == []
