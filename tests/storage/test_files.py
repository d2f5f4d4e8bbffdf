import errno
import logging
import os

import pytest

from scalecli.cli.compare.arguments import _paths
from scalecli.data.sources import find_files, fingerprint, read_lines
from scalecli.errors import MissingError, ScalecliError
from scalecli.storage.files import is_remote, read_bytes, write_atomically


def test_writes_text_and_bytes_and_makes_the_parents(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    write_atomically(path, "ä\n")
    assert path.read_bytes() == "ä\n".encode()
    write_atomically(path, b"\x00")
    assert path.read_bytes() == b"\x00"
    assert os.listdir(path.parent) == ["a.txt"]


def test_permissions_are_those_of_any_new_file(tmp_path):
    plain = tmp_path / "plain"
    plain.write_text("")
    write_atomically(tmp_path / "ours", "")
    assert (tmp_path / "ours").stat().st_mode == plain.stat().st_mode


@pytest.mark.parametrize("call", ["replace", "fsync"])
def test_a_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path, monkeypatch, call):
    path = tmp_path / "run.yaml"
    path.write_text("old")

    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(ScalecliError, match=r"run\.yaml: cannot be written \(No space left on device\)") as info:
        write_atomically(path, "new")
    assert info.value.exit_code == 1
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["run.yaml"]


def test_a_link_keeps_pointing_at_what_is_written(tmp_path):
    (tmp_path / "real").write_text("old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_text() == "new"


def test_a_device_is_written_to_and_not_replaced(tmp_path):
    write_atomically("/dev/null", "gone")
    assert not os.path.isfile("/dev/null")
    with pytest.raises(ScalecliError, match="/dev/full: cannot be written"):
        write_atomically("/dev/full", "x" * 10)


def test_a_directory_or_a_file_in_the_way_is_an_error(tmp_path):
    with pytest.raises(ScalecliError, match="cannot be written"):
        write_atomically(tmp_path, "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(ScalecliError, match="cannot be written"):
        write_atomically(tmp_path / "file" / "below", "x")


def test_reading(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", limit=5) == b"12345"
    with pytest.raises(MissingError, match="larger than the 4 bytes"):
        read_bytes(tmp_path / "a", limit=4)
    with pytest.raises(MissingError, match="no such file"):
        read_bytes(tmp_path / "b", limit=4)
    with pytest.raises(MissingError, match="cannot be read"):
        read_bytes(tmp_path, limit=4)


def test_remote_files_go_through_fsspec():
    assert is_remote("gs://bucket/a") and not is_remote("/a/b")
    write_atomically("memory://bucket/run.yaml", "a: 1\n")
    assert read_bytes("memory://bucket/run.yaml", limit=100) == b"a: 1\n"
    with pytest.raises(MissingError, match="memory://bucket/other: no such file"):
        read_bytes("memory://bucket/other", limit=100)
    with pytest.raises(MissingError, match="cannot be read"):
        read_bytes("nosuchscheme://bucket/other", limit=100)
    with pytest.raises(ScalecliError, match="cannot be written"):
        write_atomically("nosuchscheme://bucket/other", "")


def test_a_bucket_that_fails_is_one_line_and_nothing_is_logged(caplog):
    """The client of gs:// logs the traceback of each of its retries before it raises."""
    import fsspec
    from fsspec.implementations.memory import MemoryFileSystem

    class DeniedError(Exception):
        """Of no class that anyone else knows."""

    def fail(*_, **__):
        logging.getLogger("gcsfs.retry").error("a long traceback")
        raise DeniedError("Anonymous caller\nhas no access")

    class Bucket(MemoryFileSystem):
        protocol = "denied"
        cachable = False
        _open = pipe_file = glob = isfile = info = fail

    fsspec.register_implementation("denied", Bucket, clobber=True)
    logging.getLogger("gcsfs").setLevel(logging.NOTSET)
    for use, kind in (
        (lambda: read_bytes("denied://b/a", limit=9), MissingError),
        (lambda: write_atomically("denied://b/a", ""), ScalecliError),
        (lambda: find_files(["denied://b/a"]), MissingError),
        (lambda: fingerprint("denied://b/a"), MissingError),
        (lambda: list(read_lines("denied://b/a")), MissingError),
        (lambda: _paths("denied://b/*"), MissingError),
    ):
        with pytest.raises(kind, match=r"denied://b/.: cannot be (read|written) \(Anonymous caller\)$"):
            use()
    assert not caplog.records
