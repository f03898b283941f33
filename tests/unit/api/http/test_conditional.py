"""ETags, 304 and HEAD on the real application."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from dropout_service.api.http.conditional import ConditionalMiddleware

if TYPE_CHECKING:
    import httpx
    from starlette.types import Message, Receive, Scope, Send

BODY: dict[str, Any] = {
    "task": "regression",
    "data": {"x": [[0.0], [1.0], [2.0], [3.0]], "y": [0, 1, 2, 3]},
    "validation_fraction": 0,
}


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


@pytest.mark.parametrize("after", [0, 1])
def test_head_of_a_stream_waits_neither_for_an_event_nor_for_the_end(
    client: httpx.Client, job: dict[str, Any], after: int
):
    begin = time.monotonic()
    answer = client.head(f"/jobs/{job['id']}/events", params={"after": after})
    assert time.monotonic() - begin < 10, "the job is queued and nothing runs it"
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-type"].startswith("text/event-stream")


def test_the_head_of_a_stream_is_sent_before_its_first_event():
    sent: list[Message] = []
    begun = asyncio.Event()

    async def stream(_scope: Scope, _receive: Receive, send: Send) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await begun.wait()
        await send({"type": "http.response.body", "body": b": ping"})

    async def record(message: Message) -> None:
        sent.append(message)
        begun.set()

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def answer() -> None:
        scope = {"type": "http", "method": "GET", "path": "/jobs/job_1/events", "headers": []}
        async with asyncio.timeout(20):
            await ConditionalMiddleware(stream)(scope, receive, record)

    asyncio.run(answer())
    assert [message["type"] for message in sent] == ["http.response.start", "http.response.body"]
    assert sent[1]["body"] == b": ping"
