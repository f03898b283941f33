"""ETags, 304 and HEAD on the real application."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from dropout_service.app import create_app
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fastapi import FastAPI
    from live_server import LiveServer

BODY: dict[str, Any] = {
    "task": "regression",
    "data": {"x": [[0.0], [1.0], [2.0], [3.0]], "y": [0, 1, 2, 3]},
    "validation_fraction": 0,
}


@pytest.fixture
def client(tmp_path: Path, open_client: Callable[[FastAPI], httpx.Client]) -> httpx.Client:
    return open_client(create_app(Settings(data_dir=tmp_path, dispatcher=False)))


@pytest.fixture
def job(client: httpx.Client) -> dict[str, Any]:
    return client.post("/jobs", json=BODY).json()


def get(client: httpx.Client, path: str, etag: str | None = None) -> httpx.Response:
    return client.get(path, headers={} if etag is None else {"If-None-Match": etag})


PATHS = ["/jobs", "/jobs/{job}", "/jobs/{job}?wait=0.01", "/jobs/{job}/metrics", "/datasets", "/datasets/{dataset}"]


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_that_has_not_changed_is_not_sent_again(client: httpx.Client, job: dict[str, Any], path: str):
    path = path.format(job=job["id"], dataset=job["spec"]["data"]["dataset"])
    first = get(client, path)
    etag = first.headers["etag"]
    assert etag.startswith('"')
    assert first.headers["cache-control"] == "no-cache"
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = get(client, path, known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        assert "content-type" not in again.headers
        assert again.headers["x-request-id"]
    assert get(client, path, '"other"').content == first.content


def test_an_answer_that_has_changed_is_sent(client: httpx.Client, job: dict[str, Any]):
    for path in (f"/jobs/{job['id']}", "/jobs"):
        etag = get(client, path).headers["etag"]
        client.post(f"/jobs/{job['id']}/pause")
        changed = get(client, path, etag)
        assert changed.status_code == 200
        assert changed.headers["etag"] != etag
        client.post(f"/jobs/{job['id']}/resume")


def test_only_what_can_be_kept_has_an_etag(client: httpx.Client, job: dict[str, Any]):
    for answer in (
        client.get("/jobs/job_unknown"),
        client.get("/livez"),
        client.get("/readyz"),
        client.post(f"/jobs/{job['id']}/pause"),
    ):
        assert "etag" not in answer.headers
    assert get(client, "/jobs/job_unknown", "*").status_code == 404
    download = f"/datasets/{job['spec']['data']['dataset']}/content"
    etag = client.get(download).headers["etag"]
    assert etag.startswith('"sha256:')
    assert get(client, download, etag).status_code == 304


@pytest.mark.parametrize("path", ["/livez", "/dropout/variants", "/datasets/{dataset}/content", *PATHS])
def test_head_answers_as_get_without_the_body(client: httpx.Client, job: dict[str, Any], path: str):
    path = path.format(job=job["id"], dataset=job["spec"]["data"]["dataset"])
    full, head = client.get(path), client.head(path)
    varying = {"x-request-id", "date"}
    assert (head.status_code, head.content) == (200, b"")
    assert {k: v for k, v in head.headers.items() if k not in varying} == {
        k: v for k, v in full.headers.items() if k not in varying
    }
    if "etag" in head.headers:
        assert client.head(path, headers={"If-None-Match": head.headers["etag"]}).status_code == 304


def test_head_of_what_is_not_there_or_cannot_be_read(client: httpx.Client, job: dict[str, Any]):
    assert client.head("/jobs/job_unknown").status_code == 404
    answer = client.head(f"/jobs/{job['id']}/pause")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert client.put("/jobs").headers["allow"] == "GET, HEAD, POST"


def test_head_of_a_stream_does_not_wait_for_its_end(client: httpx.Client, job: dict[str, Any]):
    begin = time.monotonic()
    answer = client.head(f"/jobs/{job['id']}/events")
    assert time.monotonic() - begin < 10, "the job is queued and nothing runs it"
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_over_a_socket_the_connection_stays_usable(live_server: LiveServer):
    with httpx.Client(base_url=live_server.url, timeout=30, limits=httpx.Limits(max_connections=1)) as client:
        job = client.post("/jobs", json={**BODY, "epochs": 1_000_000}).json()
        try:
            for _ in range(3):
                assert client.head(f"/jobs/{job['id']}/events").status_code == 200
                assert client.head(f"/jobs/{job['id']}").headers["etag"]
                etag = client.get("/datasets?limit=1").headers["etag"]
                assert get(client, "/datasets?limit=1", etag).status_code == 304
                assert client.get(f"/jobs/{job['id']}").json()["id"] == job["id"]
        finally:
            client.post(f"/jobs/{job['id']}/cancel")
