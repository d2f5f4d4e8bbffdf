"""A run is held by one process: which is alive, on this machine or another, and what becomes of a dead one's hold."""

import dataclasses
import json
import signal
import subprocess
import sys
import threading

import pytest

from scalecli.errors import HeldError
from scalecli.storage import holding
from scalecli.storage.buckets import BucketFolder
from scalecli.storage.holding import RECORD, BucketRecord, FileRecord, Holder, living_holder
from tests.buckets import emulator, storage_server  # noqa: F401

# Holds a run until it is killed; takes the directory, or an address in a bucket.
PROGRAM = """
import sys, time
from pathlib import Path
from scalecli.storage.holding import BucketFolder, BucketRecord, FileRecord, holding
where = sys.argv[1]
record = BucketRecord(BucketFolder(where)) if "://" in where else FileRecord(Path(where))
with holding(record, where, print):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def quick(monkeypatch):
    """Beats and leases of moments."""
    monkeypatch.setattr(holding, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(holding, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(holding, "_LOOK_SECONDS", 0.02)
    monkeypatch.setattr(holding, "_SETTLE_SECONDS", 0.05)


@pytest.fixture(params=["folder", "bucket"])
def where(request, tmp_path):
    if request.param == "folder":
        return str(tmp_path)
    request.getfixturevalue("emulator").put("bucket", "elsewhere", b"makes the bucket")
    return "gs://bucket/runs/a"


def record_of(where):
    return BucketRecord(BucketFolder(where)) if "://" in where else FileRecord(holding.Path(where))


def take(where):
    return holding.holding(record_of(where), where, lambda message: None)


def test_a_second_process_is_told_who_holds_the_run_and_a_killed_one_holds_it_no_more(where):
    with subprocess.Popen([sys.executable, "-c", PROGRAM, where], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "held\n"
        with pytest.raises(HeldError, match=rf"{where}: process {other.pid} on .* is at work on it"), take(where):
            pytest.fail("it was given to two")
        other.send_signal(signal.SIGKILL)
        other.wait()
        with take(where):
            assert json.loads(record_of(where).read())["pid"] == holding.os.getpid()
    assert record_of(where).read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_that_was_killed_and_that_nobody_has_waited_for_is_dead(tmp_path):
    other = subprocess.Popen([sys.executable, "-c", PROGRAM, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    other.kill()
    while ") Z " not in holding.Path(f"/proc/{other.pid}/stat").read_text():
        threading.Event().wait(0.01)
    with take(str(tmp_path)):
        pass
    other.communicate()


def test_another_process_of_the_same_number_is_not_the_holder(tmp_path):
    reused = dataclasses.replace(Holder.here(), started="1")
    FileRecord(tmp_path).replace(b"", reused.record)
    assert living_holder(FileRecord(tmp_path)) is None


def test_a_holder_on_another_machine_lives_while_its_record_changes(where, quick, monkeypatch):
    said, other = [], dataclasses.replace(Holder.here(), host="far", machine="far/1", pid=7)
    record_of(where).replace(b"", other.record)
    hold = holding.Hold(record_of(where), other)  # its beats
    assert living_holder(record_of(where), said.append).host == "far"
    assert said == ["held by process 7 on far; looking for up to 0 s whether it is still alive"]
    hold._ended.set()
    hold._thread.join()
    assert living_holder(record_of(where)) is None
    with take(where):
        assert Holder.read(record_of(where).read()).machine == Holder.here().machine


def test_who_looked_dead_and_lives_is_told_that_the_run_is_anothers(where, quick):
    with take(where) as hold:
        hold.check(where)
        thief = dataclasses.replace(Holder.here(), host="far", pid=7)
        while not record_of(where).replace(record_of(where).read(), thief.record):
            pass
        hold._thread.join(10)
        with pytest.raises(HeldError, match=rf"{where}: taken over by process 7 on far"):
            hold.check(where)
    assert Holder.read(record_of(where).read()) == thief  # which is not ours to remove


def test_a_record_that_somebody_removes_comes_back(tmp_path, quick):
    with take(str(tmp_path)):
        (tmp_path / RECORD).unlink()
        while not (tmp_path / RECORD).exists():
            threading.Event().wait(0.01)
    assert not (tmp_path / RECORD).exists()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"token": 1}', b"\xff", b"[" * 4000, b"null"])
def test_a_damaged_record_is_nobodys(tmp_path, content):
    (tmp_path / RECORD).write_bytes(content)
    with take(str(tmp_path)):
        assert Holder.read((tmp_path / RECORD).read_bytes()).pid == holding.os.getpid()


def test_of_many_that_come_at_once_one_is_given_the_run(tmp_path):
    given, barrier, end = [], threading.Barrier(8), threading.Event()

    def come():
        barrier.wait()
        try:
            with take(str(tmp_path)):
                given.append(True)
                end.wait(10)
        except HeldError:
            given.append(False)

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    while len(given) < 8:
        threading.Event().wait(0.01)
    end.set()
    for thread in threads:
        thread.join()
    assert sorted(given) == [False] * 7 + [True]


def test_of_two_that_find_a_bucket_free_one_is_given_the_run(emulator, monkeypatch):  # noqa: F811
    emulator.put("bucket", "elsewhere", b"makes the bucket")
    first, second = (record_of("gs://bucket/runs/a") for _ in range(2))
    assert first.replace(b"", b"first")
    read = second.read
    looks = iter([b""])  # before the first one wrote
    monkeypatch.setattr(second, "read", lambda: next(looks, None) or read())
    assert not second.replace(b"", b"second")
    assert first.read() == b"first"
