"""Runs in a bucket: what is written when, what counts, and what a network and a bucket can answer."""

import contextlib
from types import SimpleNamespace

import pytest

from scalecli.errors import MissingError, ScalecliError, UsageError
from scalecli.manifest import save_manifest
from scalecli.storage import buckets
from scalecli.storage.layout import DESCRIPTION, OPTIMIZER, WEIGHTS
from scalecli.storage.run_storage import RunStorage, open_storage
from scalecli.training import checkpoints
from scalecli.training.checkpoints import checkpoint_steps
from scalecli.training.run_checkpoints import RunCheckpoints
from tests.buckets import emulator, storage_server  # noqa: F401
from tests.manifests import example_manifest
from tests.training.saved import SAVING, arrays, restored

ADDRESS = "gs://bucket/deep/run"


@pytest.fixture
def bucket(emulator):  # noqa: F811
    emulator.put("bucket", "elsewhere", b"makes the bucket")
    emulator.requests.clear()
    return emulator


@pytest.fixture
def waits(monkeypatch):
    """The seconds that were waited between tries, by gcsfs and by us; no time passes."""
    import gcsfs.retry

    found = SimpleNamespace(gcsfs=[], ours=[])

    async def sleep(seconds):
        found.gcsfs.append(seconds)

    monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(buckets, "time", SimpleNamespace(sleep=found.ours.append, monotonic=buckets.time.monotonic))
    return found


def a_run(storage, *steps, trusted=True):
    save_manifest(example_manifest(), storage.directory)
    (storage.directory / "metrics.jsonl").write_text('{"step": 1}\n')
    (storage.directory / "tensorboard/train").mkdir(parents=True)
    (storage.directory / "tensorboard/train/events.1").write_bytes(b"events")
    (storage.directory / ".metrics.jsonl.tmp").write_bytes(b"half")
    checkpoints = RunCheckpoints(storage, SAVING)
    for step in steps:
        checkpoints.save(step, *arrays(step), example_manifest())
        checkpoints.finish()
        if trusted:
            checkpoints.trust(None)
            checkpoints.finish()
    return checkpoints


def test_another_machine_has_what_the_first_one_stored(bucket, tmp_path):
    first = open_storage(ADDRESS, tmp_path / "first")
    a_run(first, 1, 2, 3)
    assert checkpoint_steps(first.directory / "checkpoints") == [2, 3]
    second = open_storage(ADDRESS, tmp_path / "second")
    second.refresh()
    files = {str(each.relative_to(second.directory)) for each in second.directory.rglob("*") if each.is_file()}
    descriptions = {f"checkpoints/{step:08d}/{DESCRIPTION}" for step in (2, 3)}
    assert files == {"run.yaml", "metrics.jsonl", ".lock", *descriptions}
    assert restored(second, messages := []) == 3 and not messages
    assert not (second.directory / "checkpoints/00000002" / WEIGHTS).exists()  # nobody asked for it
    assert "deep/run/tensorboard/train/events.1" in bucket.names("bucket")


def test_a_description_is_written_last_and_removed_first(bucket, tmp_path):
    a_run(open_storage(ADDRESS, tmp_path), 1, 2, 3)
    done = [(method, name.removeprefix("deep/run/")) for method, name in bucket.changes]
    for step in (1, 2, 3):
        folder = f"checkpoints/{step:08d}/"
        of_step = [(method, name.removeprefix(folder)) for method, name in done if name.startswith(folder)]
        stored = [("DELETE", DESCRIPTION), ("POST", OPTIMIZER), ("POST", WEIGHTS), ("POST", DESCRIPTION)]
        removed = [("DELETE", DESCRIPTION), ("DELETE", OPTIMIZER), ("DELETE", WEIGHTS)]
        assert of_step == (stored + removed if step == 1 else stored)
    # Figures up to a step are there before its checkpoint counts, and what has not changed is not sent again.
    names = [name for _, name in done]
    assert names.index("metrics.jsonl") < names.index(f"checkpoints/00000001/{DESCRIPTION}", 1)
    assert names.count("metrics.jsonl") == names.count("run.yaml") == 1


@pytest.mark.parametrize("done", range(12))
def test_an_end_between_any_two_requests(bucket, tmp_path, monkeypatch, done):
    """The third checkpoint, and then the removal of the first, take fewer requests than that in all."""
    a_run(open_storage(ADDRESS, tmp_path / "first"), 1, 2)
    storage = brought(tmp_path / "second")
    left = done

    def ended(self, path, work):
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        write(self, path, work)

    write = buckets.BucketFolder._write
    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(buckets.BucketFolder, "_write", ended)
        a_run(storage, 3)
    there = brought(tmp_path / "third")
    steps = checkpoint_steps(there.directory / "checkpoints")
    assert steps == ([1, 2] if done < 7 else [1, 2, 3] if done == 7 else [2, 3])
    for step in steps:
        folder = there.directory / f"checkpoints/{step:08d}"
        there.fetch(folder / WEIGHTS, folder / OPTIMIZER)
        checkpoints.load_both(folder)
    assert restored(there, messages := []) == steps[-1] and not messages


def test_what_the_bucket_has_not_is_forgotten(bucket, tmp_path):
    first = open_storage(ADDRESS, tmp_path / "first")
    a_run(first, 1, 2)
    bucket.remove("bucket", "deep/run/checkpoints/00000002/" + DESCRIPTION)  # as where an upload was killed
    bucket.put("bucket", "deep/run/metrics.jsonl", b'{"step": 7}\n')
    bucket.put("bucket", "deep/run/eval/other/run.yaml", b"of another run")
    (first.directory / "own.txt").write_text("of a life that came to nothing")
    (first.directory / "tensorboard/train/events.2").write_bytes(b"likewise")
    (first.directory / "eval").mkdir()
    first.refresh()
    assert (first.directory / "metrics.jsonl").read_text() == '{"step": 7}\n'
    assert checkpoint_steps(first.directory / "checkpoints") == [1]
    assert restored(first, messages := []) == 1 and not messages
    left = {each.name for each in first.directory.rglob("*") if each.is_file() and not each.name.startswith(".")}
    assert left == {"run.yaml", "metrics.jsonl", "events.1", DESCRIPTION, WEIGHTS, OPTIMIZER}
    assert (first.directory / "eval").is_dir()  # a run of its own, as far as there is one
    a_run(open_storage(ADDRESS, tmp_path / "second"), 3, 4, 5)
    assert not [name for name in bucket.names("bucket") if "00000002" in name]  # the half is removed in time


def test_a_run_that_is_read_has_a_copy_of_its_own(bucket, tmp_path):
    storage = open_storage(ADDRESS, tmp_path)
    a_run(storage, 1)
    (storage.directory / "checkpoints/00000002").mkdir()  # being written
    reading = storage.reading_copy()
    reading.refresh()
    assert reading.directory != storage.directory and reading.address == ADDRESS
    assert checkpoint_steps(storage.directory / "checkpoints") == [1, 2]
    assert checkpoint_steps(reading.directory / "checkpoints") == [1]


def test_writing_is_tried_again(bucket, tmp_path, waits):
    bucket.writing_faults = [503] * 7
    a_run(open_storage(ADDRESS, tmp_path), 1)
    assert waits.ours == [5.0] and len(waits.gcsfs) == 5 + 1
    assert restored(brought(tmp_path / "another"), []) == 1


def brought(cache):
    storage = open_storage(ADDRESS, cache)
    storage.refresh()
    return storage


def test_what_is_sent_in_parts_arrives(bucket, tmp_path):
    content = bytes(range(256)) * 40_000  # 10 MB
    (tmp_path / "file").write_bytes(content)
    folder = buckets.BucketFolder(ADDRESS)
    folder.upload(tmp_path / "file", "x")
    assert bucket.get("bucket", "deep/run/x") == content
    for each in (content[::-1], b"\r", b"\r\na\n"):
        folder.upload(each, "x")
        assert bucket.get("bucket", "deep/run/x") == each


@pytest.mark.parametrize(("status", "tries"), [(503, 30), (403, 1), (401, 1)])
def test_a_bucket_that_cannot_be_written(bucket, tmp_path, waits, status, tries):
    storage = open_storage(ADDRESS, tmp_path)
    storage.directory.mkdir(parents=True)
    save_manifest(example_manifest(), storage.directory)
    bucket.writing_faults = [status] * 50
    with pytest.raises(ScalecliError, match=rf"^{ADDRESS}/run.yaml: cannot be written \(") as caught:
        storage.store_records()
    assert caught.value.exit_code == 1 and "\n" not in str(caught.value)
    assert 50 - len(bucket.writing_faults) == tries
    assert waits.ours == sorted(waits.ours) and len(waits.ours) == (4 if tries > 1 else 0)


def test_a_bucket_that_is_not_there_or_does_not_answer(bucket, tmp_path, waits):
    with pytest.raises(MissingError, match="gs://nobodys/run: no such bucket"):
        open_storage("gs://nobodys/run", tmp_path).refresh()
    storage = open_storage(ADDRESS, tmp_path)
    a_run(storage, 1, 2)
    storage = brought(tmp_path / "another")
    bucket.faults = ["cut"] * 50
    # No network is no damage: an older checkpoint is not taken in the newest one's place.
    with pytest.raises(ScalecliError, match=rf"{WEIGHTS}.*cannot be fetched") as caught:
        restored(storage, messages := [])
    assert not messages and not isinstance(caught.value, MissingError)


def test_places_seen_from_one_another(tmp_path):
    here = RunStorage(tmp_path / "runs/one")
    run, result = open_storage("gs://b/runs/one", tmp_path), open_storage("gs://b/runs/one/eval/x", tmp_path)
    assert (run.name, run.at("eval/x").address, run.at("../two").address) == ("one", result.address, "gs://b/runs/two")
    assert run.relative_to(result) == "../.."
    assert run.relative_to(open_storage("gs://c/one", tmp_path)) == "gs://b/runs/one"
    assert (run.relative_to(here), here.relative_to(run)) == ("gs://b/runs/one", str(tmp_path / "runs/one"))
    assert here.at("../two").directory == tmp_path / "runs/two"
    assert here.relative_to(here.at("eval/x")) == "../.."


@pytest.mark.parametrize("address", ["gs://bucket", "gs://bucket/../run", "s3://bucket/run", "gs://bucket//run"])
def test_what_is_no_place(tmp_path, address):
    with pytest.raises(UsageError, match=r"gs://BUCKET/FOLDER is accepted"):
        open_storage(address, tmp_path)
