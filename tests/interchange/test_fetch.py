import hashlib
import json
import re
import socket
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from scalecli.errors import MissingError, ScalecliError, UsageError
from scalecli.interchange.fetch import fetch, hub_snapshot
from scalecli.storage import buckets

CONTENT = bytes(range(256)) * 40  # 10,240 bytes


def everything(names):
    return names


def silent(done, total, rate):
    pass


@pytest.fixture
def small_chunks(monkeypatch):
    """Downloads in ranges of 4,096 bytes: three of them for CONTENT."""
    monkeypatch.setattr(buckets, "_CHUNK_BYTES", 4096)


@pytest.fixture
def waits(monkeypatch):
    """The seconds that gcsfs waited between its tries; no time passes."""
    import gcsfs.retry

    waited = []

    async def sleep(seconds):
        waited.append(seconds)

    monkeypatch.setattr(gcsfs.retry, "asyncio", SimpleNamespace(sleep=sleep))
    return waited


@pytest.fixture
def checkpoint(emulator):
    """A folder with two steps, in a bucket."""
    for name in ("model.ckpt-1.index", "model.ckpt-2.index", "model.ckpt-2.data", "deep/er/x", "operative_config.gin"):
        emulator.put("bucket", f"runs/small-nl24/{name}", CONTENT + name.encode())
    emulator.put("bucket", "runs/small-nl24-b/other", b"of another folder")
    emulator.requests.clear()
    return "gs://bucket/runs/small-nl24"


def test_lists_chooses_and_reads(checkpoint, tmp_path, small_chunks):
    listed, reports = [], []

    def wanted(names):
        listed.extend(names)
        return [name for name in names if "2" in name or "/" in name]

    folder = fetch(checkpoint, tmp_path, wanted, lambda *report: reports.append(report))
    assert listed == sorted(
        ["model.ckpt-1.index", "model.ckpt-2.index", "model.ckpt-2.data", "deep/er/x", "operative_config.gin"]
    )
    files = {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    assert files == {name: CONTENT + name.encode() for name in ("model.ckpt-2.index", "model.ckpt-2.data", "deep/er/x")}
    total = sum(map(len, files.values()))
    assert [done for done, _, _ in reports] == sorted(done for done, _, _ in reports)
    assert reports[-1][:2] == (total, total) and reports[-1][2] > 0


def test_what_is_in_the_cache_is_not_fetched_again(checkpoint, emulator, tmp_path):
    folder = fetch(checkpoint, tmp_path, everything, silent)
    (folder / "model.ckpt-1.index").write_bytes(b"x" * len(CONTENT + b"model.ckpt-1.index"))  # damaged since
    emulator.requests.clear()
    reports = []
    fetch(checkpoint, tmp_path, everything, lambda *report: reports.append(report))
    assert len(emulator.downloads()) == 1
    assert (folder / "model.ckpt-1.index").read_bytes() == CONTENT + b"model.ckpt-1.index"
    assert reports[-1][0] == reports[-1][1]


def test_one_file(checkpoint, tmp_path):
    folder = fetch(f"{checkpoint}/operative_config.gin", tmp_path, everything, silent)
    assert [file.name for file in folder.iterdir()] == ["operative_config.gin"]


def test_a_cut_connection_is_tried_again(emulator, tmp_path, small_chunks, waits):
    emulator.put("bucket", "a/x", CONTENT)
    emulator.faults = ["cut", 503, "cut"]
    folder = fetch("gs://bucket/a", tmp_path, everything, silent)
    assert (folder / "x").read_bytes() == CONTENT
    assert len(emulator.downloads()) == 3 + 3
    assert len(waits) == 3 and waits[0] < waits[1] < waits[2]  # it backs off


def test_what_was_begun_goes_on(emulator, tmp_path, small_chunks, waits):
    emulator.put("bucket", "a/x", CONTENT)
    emulator.faults = [None, *["cut"] * 20]
    with pytest.raises(MissingError, match=r"gs://bucket/a/x \(at byte 4,096; .* is kept\): cannot be fetched") as info:
        fetch("gs://bucket/a", tmp_path, everything, silent)
    assert "\n" not in str(info.value)
    (part,) = (tmp_path / "checkpoints/bucket/a").iterdir()
    assert part.name.startswith(".x.") and part.read_bytes() == CONTENT[:4096]
    emulator.faults = []
    emulator.requests.clear()
    reports = []
    folder = fetch("gs://bucket/a", tmp_path, everything, lambda *report: reports.append(report))
    assert emulator.downloads() == ["bytes=4096-8191", "bytes=8192-10239"]
    assert reports[0][:2] == (4096, len(CONTENT))
    assert {file.name: file.read_bytes() for file in folder.iterdir()} == {"x": CONTENT}


def test_what_was_begun_of_another_object_is_not_gone_on_with(emulator, tmp_path, small_chunks, waits):
    emulator.put("bucket", "a/x", CONTENT)
    emulator.faults = [None, *["cut"] * 20]
    with pytest.raises(MissingError, match=r"at byte 4,096; what came before is kept.*cannot be fetched"):
        fetch("gs://bucket/a", tmp_path, everything, silent)
    emulator.faults = []
    emulator.put("bucket", "a/x", CONTENT[::-1])
    assert (fetch("gs://bucket/a", tmp_path, everything, silent) / "x").read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize(
    ("hashes", "kind"),
    [
        ({"md5Hash": "AAAAAAAAAAAAAAAAAAAAAA=="}, "md5"),
        ({"md5Hash": "", "crc32c": "AAAAAA=="}, "crc32c"),  # as of an object that was uploaded in parts
    ],
)
def test_a_wrong_hash(emulator, tmp_path, hashes, kind):
    emulator.put("bucket", "a/x", CONTENT)
    emulator.describe("bucket", "a/x", **hashes)
    with pytest.raises(MissingError, match=rf"gs://bucket/a/x: came damaged \({kind} \w+, in the bucket 0+\)"):
        fetch("gs://bucket/a", tmp_path, everything, silent)
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.parametrize("new", [CONTENT[::-1], CONTENT[5000:], CONTENT[::-1] * 2])
def test_an_object_that_is_replaced_after_it_was_listed(emulator, tmp_path, new):
    emulator.put("bucket", "a/x", CONTENT)
    listed = buckets.BucketFolder("gs://bucket/a").objects()
    emulator.put("bucket", "a/x", new)
    target, progress = tmp_path / "x", buckets.Transfer(len(CONTENT), silent)
    buckets.BucketFolder("gs://bucket/a").download(listed["x"], target, progress)
    assert target.read_bytes() == new


def test_a_right_crc32c_alone(emulator, tmp_path):
    emulator.put("bucket", "a/x", CONTENT)
    emulator.describe("bucket", "a/x", md5Hash="")
    folder = fetch("gs://bucket/a", tmp_path, everything, silent)
    emulator.requests.clear()
    assert (fetch("gs://bucket/a", tmp_path, everything, silent) / "x").read_bytes() == CONTENT
    assert folder.is_dir() and not emulator.downloads()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("gs://bucket/runs/small-nl25", r"gs://bucket/runs has no 'small-nl25'; did you mean 'small-nl24'\?"),
        ("gs://bucket/rums/small-nl24", r"gs://bucket has no 'rums'; did you mean 'runs'\?"),
        ("gs://nobucket/runs", "no such bucket"),
    ],
)
def test_what_is_not_there(checkpoint, tmp_path, source, message):
    with pytest.raises(MissingError, match=f"^{re.escape(source)}: .*{message}"):
        fetch(source, tmp_path, everything, silent)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("source", ["gs://bucket", "gs://bucket/../x", "gs:///x", "s3://bucket/x", "gs://bucket//x"])
def test_what_is_no_address(tmp_path, source):
    with pytest.raises(UsageError, match=r"gs://BUCKET/FOLDER is accepted"):
        fetch(source, tmp_path, everything, silent)


def test_names_that_lead_out_of_the_folder(tmp_path, monkeypatch):
    objects = {"../../evil": buckets.Object("bucket/a/../../evil", 1)}
    monkeypatch.setattr(buckets.BucketFolder, "objects", lambda self: objects)
    with pytest.raises(MissingError, match=r"has an object named '\.\./\.\./evil'"):
        fetch("gs://bucket/a", tmp_path / "cache", everything, silent)
    assert not list(tmp_path.iterdir())


def test_a_cache_that_cannot_be_written(checkpoint, tmp_path):
    (tmp_path / "checkpoints").write_text("")
    with pytest.raises(ScalecliError, match="cannot be written") as info:
        fetch(checkpoint, tmp_path, everything, silent)
    assert info.value.exit_code == 1


def test_no_network(tmp_path, monkeypatch, waits):
    """Nobody listens there, and gcsfs would try for half a minute."""
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{port}")
    with pytest.raises(MissingError, match=r"gs://bucket/a: cannot be fetched \(.*[Cc]onnect"):
        fetch("gs://bucket/a", tmp_path, everything, silent)
    assert waits


def test_no_answer(tmp_path, monkeypatch):
    monkeypatch.setattr(buckets, "_LISTING_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{mute.getsockname()[1]}")
        with pytest.raises(MissingError, match=r"no answer for 0\.2 seconds; is there a network"):
            fetch("gs://bucket/a", tmp_path, everything, silent)


# Hugging Face's hub

FILES = {"config.json": b"{}", "model.safetensors": CONTENT, "README.md": b"not wanted", "spiece.model": b"pieces"}
COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(BaseHTTPRequestHandler):
    """The two requests that huggingface_hub makes: what a model has, and a file."""

    def do_GET(self):
        if self.path.startswith("/api/models/owner/model"):
            self._answer(json.dumps({"id": "owner/model", "sha": COMMIT, "siblings": list(self._siblings())}).encode())
        elif self.path.startswith(f"/owner/model/resolve/{COMMIT}/"):
            content = FILES[self.path.rpartition("/")[2]]
            self._answer(content, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT})
        else:
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()

    do_HEAD = do_GET  # noqa: N815

    def _siblings(self):
        for name, content in FILES.items():
            sha256 = self.server.sha256 or hashlib.sha256(content).hexdigest()
            large = {"lfs": {"size": len(content), "sha256": sha256, "pointerSize": 1}} if len(content) > 99 else {}
            yield {"rfilename": name, "size": len(content), "blobId": "0", **large}

    def _answer(self, content, headers=None):
        self.send_response(200)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub(monkeypatch):
    constants = pytest.importorskip("huggingface_hub.constants")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.sha256 = None
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setattr(constants, "ENDPOINT", endpoint)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", endpoint + "/{repo_id}/resolve/{revision}/{filename}")
    yield server
    server.shutdown()
    server.server_close()


def test_a_model_of_the_hub(hub, tmp_path):
    reports = []
    for _ in range(2):  # the second time from the cache
        folder = hub_snapshot("owner/model", tmp_path, lambda *report: reports.append(report))
        files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
        assert files == {name: content for name, content in FILES.items() if name != "README.md"}
        assert reports[-1][0] == reports[-1][1] == sum(map(len, files.values()))


def test_a_damaged_file_of_the_hub(hub, tmp_path):
    hub.sha256 = "0" * 64
    with pytest.raises(MissingError, match=r"hf:owner/model: model\.safetensors came damaged and was removed"):
        hub_snapshot("owner/model", tmp_path, silent)
    assert not list(tmp_path.rglob("model.safetensors"))


def test_no_such_model_on_the_hub(hub, tmp_path):
    with pytest.raises(MissingError, match="hf:owner/none: cannot be fetched") as info:
        hub_snapshot("owner/none", tmp_path, silent)
    assert "\n" not in str(info.value)
    with pytest.raises(MissingError, match="no name on the hub"):
        hub_snapshot("../model", tmp_path, silent)


def test_without_the_hubs_client(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingError, match=r"needs huggingface_hub; install it by: pip install 'scalecli\[hub\]'"):
        hub_snapshot("owner/model", tmp_path, silent)
