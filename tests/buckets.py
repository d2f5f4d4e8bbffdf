"""Fixtures: a bucket on loopback, gcp-storage-emulator, behind a proxy that can fail as networks do."""

import http.client
import json
import re
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

# The body of an upload by gcsfs: the object's description, and its content.
PARTS = re.compile(rb"--==0==\n.*?\n--==0==\n[^\n]*\n\n(.+)\n--==0==--", re.DOTALL)


class Emulator:
    """Buckets that gcsfs finds by itself, while the fixture lasts.

    `requests` are the methods, paths and ranges that came. `faults` are taken one by one by the next downloads of
    objects: `cut` sends half of the content and closes the connection, a number answers with that status;
    `writing_faults` likewise by the next requests that write. `changes` are the methods and names of the objects that
    gcsfs has written and removed.
    """

    def __init__(self, port):
        self.port = port
        self.requests = []
        self.faults = []
        self.writing_faults = []
        self.changes = []
        self.buckets = set()

    def call(self, method, path, content=b"", kind="application/octet-stream"):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, content, {"Content-Type": kind})
        response = connection.getresponse()
        body = response.read()
        connection.close()
        assert response.status < 300, (method, path, response.status)
        return body

    def put(self, bucket, name, content):
        """Writes an object, and makes its bucket."""
        if bucket not in self.buckets:
            self.call("POST", "/storage/v1/b", json.dumps({"name": bucket}).encode(), "application/json")
            self.buckets.add(bucket)
        query = urllib.parse.urlencode({"uploadType": "media", "name": name})
        self.call("POST", f"/upload/storage/v1/b/{bucket}/o?{query}", content)

    def upload(self, bucket, prefix, folder):
        """Writes all files of a folder, and returns its address."""
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                self.put(bucket, f"{prefix}/{file.relative_to(folder).as_posix()}", file.read_bytes())
        return f"gs://{bucket}/{prefix}"

    def describe(self, bucket, name, **fields):
        """Changes what the bucket says of an object, such as `md5Hash`."""
        path = f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}"
        self.call("PATCH", path, json.dumps(fields).encode(), "application/json")

    def get(self, bucket, name):
        """The content of an object."""
        return self.call("GET", f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}?alt=media")

    def remove(self, bucket, name):
        """Removes an object."""
        self.call("DELETE", f"/storage/v1/b/{bucket}/o/{urllib.parse.quote(name, safe='')}")

    def names(self, bucket):
        """The names of all objects, in order."""
        listed = json.loads(self.call("GET", f"/storage/v1/b/{bucket}/o"))
        return sorted(each["name"] for each in listed.get("items", []))

    def downloads(self):
        """The ranges of the downloads so far."""
        return [bytes_range for method, path, bytes_range in self.requests if method == "GET" and "alt=media" in path]


class Proxy(BaseHTTPRequestHandler):
    """Passes requests on to the emulator."""

    def do_GET(self):
        emulator = self.server.emulator
        emulator.requests.append((self.command, self.path, self.headers.get("Range")))
        length = int(self.headers.get("Content-Length") or 0)
        sent = self.rfile.read(length)
        if len(sent) < length:  # the sender was killed: of what came a bucket makes nothing
            return
        faults = emulator.faults if "alt=media" in self.path else []
        if self.command != "GET":
            faults = emulator.writing_faults
        fault = faults.pop(0) if faults else None
        if isinstance(fault, int):
            self.send_error(fault)
            return
        path, headers = self.path, dict(self.headers)
        if self.command == "POST" and (named := re.search(rb'"name": ?"([^"]*)"', sent)):
            bucket, name = self.path.split("/b/")[1].split("/")[0], named[1].decode()
            if "ifGenerationMatch=0" in self.path and name in emulator.names(bucket):
                self.send_error(412)
                return
            emulator.changes.append(("POST", named[1].decode()))
            if whole := PARTS.fullmatch(sent):  # which the emulator reads as a mail, whose line ends are all alike
                sent = whole[1]
                path = path.replace("multipart", f"media&name={urllib.parse.quote(named[1])}")
                headers |= {"Content-Type": "application/octet-stream", "Content-Length": str(len(sent))}
        if self.command == "DELETE":
            emulator.changes.append(("DELETE", urllib.parse.unquote(self.path.rpartition("/")[2])))
        connection = http.client.HTTPConnection("127.0.0.1", emulator.port, timeout=10)
        connection.request(self.command, path, sent, headers)
        response = connection.getresponse()
        content = response.read()
        connection.close()
        self.send_response(response.status)
        for name, value in response.getheaders():
            if name.lower() not in ("server", "date"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content[: len(content) // 2] if fault == "cut" else content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture(scope="session")
def storage_server():
    emulator_of = pytest.importorskip("gcp_storage_emulator.server")
    server = emulator_of.create_server("127.0.0.1", 0, in_memory=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture
def emulator(storage_server, monkeypatch):
    """Empty buckets of Google Cloud Storage on loopback, where `gs://` leads."""
    monkeypatch.setenv("GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT", "false")
    import gcsfs

    storage_server.wipe()
    emulator = Emulator(storage_server._api._httpd.server_port)
    proxy = ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    proxy.emulator = emulator
    threading.Thread(target=proxy.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", f"http://127.0.0.1:{proxy.server_port}")
    monkeypatch.setenv("NO_GCE_CHECK", "true")  # else credentials are looked for in Google's network
    gcsfs.GCSFileSystem.clear_instance_cache()  # they are shared, and have the address of another test's bucket
    yield emulator
    proxy.shutdown()
    proxy.server_close()
