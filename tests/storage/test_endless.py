"""Files that may never end are refused at once; what a shell hands over is read."""

import os
import socket

import pytest

from scalecli.cli.main import run
from scalecli.data.sources import find_files
from scalecli.errors import MissingError, ScalecliError
from scalecli.storage.files import check_ends, read_bytes, sha256_of
from scalecli.storage.holding import RECORD, FileRecord


@pytest.fixture
def endless(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        (tmp_path / "link").symlink_to("/dev/zero")
        yield {
            str(tmp_path / "pipe"): "a pipe",
            str(tmp_path / "socket"): "a socket",
            str(tmp_path / "link"): "a device",
        }


def test_what_may_never_end_is_refused(endless, capsys):
    for path, kind in {**endless, "/dev/zero": "a device", "/proc/self/status": "a file of the kernel"}.items():
        for read in (lambda path: read_bytes(path, 100), lambda path: find_files([path]), sha256_of):
            with pytest.raises(MissingError) as error:
                read(path)
            assert str(error.value) == f"{path}: {kind}; a file is accepted"
        for words in (["compare", path], ["shape", "tiny", "--arch", path]):
            assert run(words) == 4
            assert capsys.readouterr().err == f"error: {path}: {kind}; a file is accepted\n"


def test_a_pipe_in_the_place_of_a_record_is_an_error(tmp_path):
    os.mkfifo(tmp_path / RECORD)
    with pytest.raises(ScalecliError, match=rf"{RECORD}: cannot be read"):
        FileRecord(tmp_path).read()


def test_what_a_shell_hands_over_is_read(tmp_path):
    reading, writing = os.pipe()
    os.write(writing, b"text")
    os.close(writing)
    assert read_bytes(f"/dev/fd/{reading}", 100) == b"text"
    os.close(reading)
    check_ends(tmp_path / "absent")
