"""What never answers is given up after a while, whichever question it is that is not answered."""

import threading
import time

import fsspec
import pytest

from scalecli.data.sources import find_files
from scalecli.errors import MissingError, UsageError
from scalecli.storage import files
from scalecli.storage.buckets import BucketFolder
from scalecli.storage.files import answered, read_bytes


@pytest.fixture
def silent(monkeypatch):
    """A network that says nothing; what waits for it ends with the test."""
    end = threading.Event()
    monkeypatch.setattr(files, "NETWORK_SECONDS", 0.2)
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda *_, **__: end.wait(30))
    yield
    end.set()


@pytest.mark.parametrize(
    "ask",
    [
        lambda: read_bytes("gs://bucket/run/run.yaml", 100),
        lambda: find_files(["https://example.org/*.txt"]),
        lambda: BucketFolder("gs://bucket/run").objects(),
        lambda: BucketFolder("gs://bucket/run").read(".holder"),
    ],
)
def test_no_answer_is_one_line_in_time(silent, ask):
    start = time.monotonic()
    with pytest.raises(MissingError, match=r"^\S+: no answer for 0\.2 seconds; is there a network\?$"):
        ask()
    assert time.monotonic() - start < 5


def test_answers_and_errors_pass(tmp_path):
    def refuse():
        raise UsageError("no")

    def late():
        raise TimeoutError("the server's own")

    assert answered("gs://bucket/a", lambda: 7) == 7 == answered(str(tmp_path), lambda: 7)
    with pytest.raises(UsageError, match=r"^no$"):
        answered("gs://bucket/a", refuse)
    with pytest.raises(TimeoutError, match="the server's own"):
        answered("gs://bucket/a", late)
