"""The blob store against a small S3: what obstore sends over HTTP, kept in a dictionary."""

from __future__ import annotations

import os
import re
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from dropout_service.blobs import BlobStore
from dropout_service.errors import NotFoundError, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class S3Server(ThreadingHTTPServer):
    """Put (in one or several parts), get, head, delete and list of one bucket."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), S3Handler)
        self.objects: dict[str, bytes] = {}
        self.parts: dict[int, bytes] = {}


class S3Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: S3Server

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name that is overridden
        """Keep the output of the tests clean."""

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        stored = {"ETag": '"tag"', "Last_Modified": "Sun, 22 Nov 2026 09:00:00 GMT"}
        for name, value in {"Content_Length": str(len(body)), **stored, **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def read(self) -> bytes:
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def do_PUT(self) -> None:
        part = re.search(r"partNumber=(\d+)", self.path)
        if part:
            self.server.parts[int(part[1])] = self.read()
        else:
            self.server.objects[self.path] = self.read()
        self.answer(200)

    def do_POST(self) -> None:
        url, body = urlsplit(self.path), self.read()
        if url.query.startswith("delete"):
            for key in re.findall(r"<Key>(.*?)</Key>", body.decode()):
                self.server.objects.pop(f"{url.path}/{key}", None)
            self.answer(200, b"<DeleteResult><Deleted><Key>done</Key></Deleted></DeleteResult>")
        elif url.query.startswith("uploads"):
            self.server.parts.clear()
            self.answer(200, b"<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>")
        else:
            self.server.objects[url.path] = b"".join(self.server.parts[key] for key in sorted(self.server.parts))
            self.answer(200, b"<CompleteMultipartUploadResult><ETag>1</ETag></CompleteMultipartUploadResult>")

    def do_GET(self) -> None:
        content = self.server.objects.get(self.path)
        if content is None:
            self.answer(404)
        elif wanted := re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", "")):
            first, last = int(wanted[1]), int(wanted[2])
            part = content[first : last + 1]
            self.answer(206, part, Content_Range=f"bytes {first}-{first + len(part) - 1}/{len(content)}")
        else:
            self.answer(200, content)

    def do_HEAD(self) -> None:
        content = self.server.objects.get(self.path)
        self.answer(404 if content is None else 200, Content_Length=str(len(content or b"")))


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    with S3Server() as server:
        settings = {
            "ENDPOINT": f"http://127.0.0.1:{server.server_port}",
            "ALLOW_HTTP": "true",
            "REGION": "somewhere",
            "ACCESS_KEY_ID": "key",
            "SECRET_ACCESS_KEY": "secret",
        }
        for name, value in settings.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def blobs(server: S3Server, tmp_path: Path) -> BlobStore:
    assert server.server_port
    return BlobStore("s3://bucket/prefix", scratch_dir=tmp_path)


def test_small_blobs(blobs: BlobStore, server: S3Server):
    blobs.put("jobs/1/checkpoint", b"old")
    blobs.put("jobs/1/checkpoint", b"newer")
    assert server.objects == {"/bucket/prefix/jobs/1/checkpoint": b"newer"}
    assert blobs.get("jobs/1/checkpoint") == b"newer"
    assert blobs.get_range("jobs/1/checkpoint", 1, 3) == b"ew"
    assert blobs.size("jobs/1/checkpoint") == 5
    blobs.delete("jobs/1/checkpoint")
    assert server.objects == {}
    with pytest.raises(NotFoundError, match="`jobs/1/checkpoint`"):
        blobs.get("jobs/1/checkpoint")


def test_large_blobs_go_in_parts_and_come_as_a_file(blobs: BlobStore, server: S3Server, tmp_path: Path):
    content = os.urandom(11 * 2**20)
    blobs.put_stream("big", (content[start : start + 100_000] for start in range(0, len(content), 100_000)))
    assert len(server.parts) > 1
    assert server.objects["/bucket/prefix/big"] == content
    assert b"".join(blobs.stream("big", 0, len(content))) == content
    with blobs.as_file("big") as path:
        assert path.parent == tmp_path
        assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == []


def test_an_object_store_that_does_not_answer_is_unavailable(blobs: BlobStore, server: S3Server):
    server.shutdown()
    server.server_close()
    with pytest.raises(UnavailableError, match="cannot write blob `a`: Generic S3 error"):
        blobs.put("a", b"x")
