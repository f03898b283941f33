"""Both clients against a server that misbehaves, on a real socket."""

from __future__ import annotations

import asyncio
import hashlib
import json
import threading
import time
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest
from stub_answers import JOB, MODEL

from dropout_client import (
    APIConnectionError,
    APITimeoutError,
    Client,
    InternalServerError,
    NotFoundError,
    UnavailableError,
    UnexpectedResponseError,
    flows,
)
from dropout_client.retries import Options
from dropout_client.transport import AsyncRunner, Runner

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Stub

    Call = Callable[..., Any]


def test_a_submission_that_got_no_answer_is_repeated_with_its_key(stub: Stub, call: Call):
    stub.drop()
    stub.answer(503, {}, Retry_After="0")
    stub.answer(202, JOB)
    job = call(lambda client: client.jobs.submit({"task": "regression"}, epochs=3), base_url=stub.url)
    assert job.id == "job_1"
    assert [one.path for one in stub.received] == ["/jobs"] * 3
    assert len({one.headers["idempotency-key"] for one in stub.received}) == 1
    assert len({one.body for one in stub.received}) == 1
    assert json.loads(stub.received[0].body) == {"task": "regression", "epochs": 3}


def test_two_submissions_have_two_keys_unless_one_is_given(stub: Stub, call: Call):
    for _ in range(4):
        stub.answer(202, JOB)
    for key in (None, None, "mine", "mine"):
        call(lambda client, key=key: client.jobs.submit({}, idempotency_key=key), base_url=stub.url)
    keys = [one.headers["idempotency-key"] for one in stub.received]
    assert keys[0] != keys[1]
    assert keys[2:] == ["mine", "mine"]


def test_a_file_is_sent_again_from_its_beginning(stub: Stub, call: Call, tmp_path: Path):
    table = tmp_path / "table.csv"
    table.write_text("a,b\n" + "1,2\n" * 100_000)
    stub.answer(503, {}, Retry_After="0")
    schema = {"rows": 100_000, "columns": [{"name": "a", "type": "integer"}, {"name": "b", "type": "integer"}]}
    stub.answer(
        201,
        {"id": "sha256-1", "format": "csv", "size_bytes": 1, "created_at": "2026-11-22T09:00:00Z", "schema": schema},
    )
    dataset = call(lambda client: client.datasets.upload(table), base_url=stub.url)
    assert dataset.schema.rows == 100_000
    assert [one.body for one in stub.received] == [table.read_bytes()] * 2
    assert stub.received[1].path == "/datasets?name=table"
    assert stub.received[1].headers["content-type"] == "text/csv"


def test_silence_ends_in_a_timeout(stub: Stub, call: Call):
    stub.hang()
    with pytest.raises(APITimeoutError, match="/jobs/1 was not answered in time"):
        call(lambda client: client.jobs.get("1"), base_url=stub.url, timeout=0.1, max_retries=0)


def test_the_total_timeout_bounds_all_attempts(stub: Stub, call: Call):
    for _ in range(20):
        stub.hang()
    begin = time.monotonic()
    with pytest.raises(APITimeoutError):
        call(
            lambda client: client.jobs.get("1"),
            base_url=stub.url,
            timeout=0.2,
            total_timeout=0.5,
            max_retries=20,
        )
    assert time.monotonic() - begin < 3


def test_an_answer_that_drips_is_bounded_by_the_total_timeout(stub: Stub, call: Call):
    def drip(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000")
        handler.end_headers()
        try:
            while not stub.stopping.wait(0.02):
                handler.wfile.write(b" ")
        except OSError:
            pass  # the client has gone

    stub.script.append(drip)
    with pytest.raises(APITimeoutError, match="total time-out"):
        call(lambda client: client.jobs.get("1"), base_url=stub.url, total_timeout=0.3, max_retries=0)


def test_nobody_listens(call: Call):
    with pytest.raises(APIConnectionError, match=r"GET http://127\.0\.0\.1:9/jobs/1: "):
        call(lambda client: client.jobs.get("1"), base_url="http://127.0.0.1:9", max_retries=0)


def test_a_request_that_could_not_be_sent_has_not_arrived(call: Call):
    with pytest.raises(APIConnectionError) as caught:
        call(lambda client: client.jobs.get("1"), base_url="http://127.0.0.1:9", max_retries=0)
    assert not caught.value.may_have_arrived


def test_a_prediction_that_takes_too_long_is_not_begun_again(stub: Stub, call: Call):
    stub.answer(200, MODEL)
    stub.hang()
    with pytest.raises(APITimeoutError, match="/predict was not answered in time"):
        call(_predicted, base_url=stub.url, timeout=0.3)
    assert [one.path.partition("?")[0] for one in stub.received] == ["/models/model_1", "/models/model_1/predict"]


def _predicted(client: Any) -> Any:
    if isinstance(client, Client):
        return client.models.get("model_1").predict([[1.0]])

    async def run() -> Any:
        return await (await client.models.get("model_1")).predict([[1.0]])

    return run()


def test_what_takes_time_is_not_done_on_the_event_loop():
    ours = threading.get_ident()

    async def awaited() -> int:
        async with httpx.AsyncClient() as http:
            return await AsyncRunner(http, Options()).run(flows.call(threading.get_ident))

    with httpx.Client() as http:
        assert Runner(http, Options()).run(flows.call(threading.get_ident)) == ours
    assert asyncio.run(awaited()) != ours


def test_a_fault_of_the_service_is_not_repeated(stub: Stub, call: Call):
    stub.answer(500, {"detail": "a bug"}, Content_Type="application/problem+json", X_Request_ID="r1")
    with pytest.raises(InternalServerError, match=r"500: a bug \[request r1\]"):
        call(lambda client: client.jobs.get("1"), base_url=stub.url)
    assert len(stub.received) == 1


def test_a_page_of_something_else_is_told_as_such(stub: Stub, call: Call):
    stub.answer(200, b"<html>hello</html>", Content_Type="text/html")
    with pytest.raises(UnexpectedResponseError, match="text/html: '<html>hello</html>'"):
        call(lambda client: client.jobs.get("1"), base_url=stub.url)
    stub.answer(200, {"id": "job_1"})
    with pytest.raises(UnexpectedResponseError, match=r"not a JobRecord: .* 'created_at'"):
        call(lambda client: client.jobs.get("1"), base_url=stub.url)


def test_with_options_shares_the_connections(stub: Stub):
    stub.answer(503, {}, Retry_After="0")
    with Client(stub.url) as client, pytest.raises(UnavailableError):
        client.with_options(max_retries=0).jobs.get("1")
    assert len(stub.received) == 1


def test_lists_fetch_their_pages_as_needed(stub: Stub, call: Call):
    pages = [["a", "b"], [], ["c"]]
    for number, page in enumerate(pages):
        cursor = None if number == 2 else f"c{number}"
        stub.answer(200, {"items": [{**JOB, "id": one} for one in page], "next_cursor": cursor})
    jobs = call(lambda client: client.jobs.list(status="running"), base_url=stub.url)
    assert [job.id for job in jobs] == ["a", "b", "c"]
    assert [one.path for one in stub.received] == [
        "/jobs?status=running",
        "/jobs?status=running&cursor=c0",
        "/jobs?status=running&cursor=c1",
    ]


def test_a_limit_ends_a_list_without_another_page(stub: Stub, call: Call):
    stub.answer(200, {"items": [MODEL, MODEL], "next_cursor": "more"})
    assert len(call(lambda client: client.models.list(limit=2), base_url=stub.url)) == 2
    assert [one.path for one in stub.received] == ["/models?limit=2"]


def test_a_download_goes_on_where_it_broke_and_is_checked(stub: Stub, call: Call, tmp_path: Path):
    content = bytes(range(256)) * 1000
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"

    def cut(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.send_header("ETag", '"tag"')
        handler.end_headers()
        handler.wfile.write(content[:1000])

    stub.answer(200, {**MODEL, "digest": digest})
    stub.script.append(cut)
    stub.answer(206, content[1000:], ETag='"tag"')
    path = call(_download(tmp_path / "model.safetensors"), base_url=stub.url)
    assert path.read_bytes() == content
    assert stub.received[-1].headers["range"] == "bytes=1000-"
    assert stub.received[-1].headers["if-range"] == '"tag"'

    stub.answer(200, {**MODEL, "digest": digest})
    stub.answer(200, b"something else", ETag='"other"')
    with pytest.raises(UnexpectedResponseError, match="which is not the promised sha256:"):
        call(_download(tmp_path / "other.safetensors"), base_url=stub.url)
    assert [one.name for one in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_download_that_is_refused_leaves_nothing(stub: Stub, call: Call, tmp_path: Path):
    stub.answer(200, MODEL)
    stub.answer(404, {"detail": "gone"}, Content_Type="application/problem+json")
    with pytest.raises(NotFoundError, match="404: gone"):
        call(_download(tmp_path / "model.safetensors"), base_url=stub.url)
    assert list(tmp_path.iterdir()) == []


def _download(path: Path) -> Call:
    def operation(client: Any) -> Any:
        if isinstance(client, Client):
            return client.models.get("model_1").download(path)

        async def download() -> Any:
            return await (await client.models.get("model_1")).download(path)

        return download()

    return operation


def test_arrays_in_a_specification_are_uploaded_first(stub: Stub, call: Call):
    dataset = {
        "id": "sha256-9",
        "format": "npz",
        "size_bytes": 1,
        "created_at": "2026-11-22T09:00:00Z",
        "schema": {"rows": 2, "columns": []},
    }
    stub.answer(201, dataset)
    stub.answer(202, JOB)
    data = {"x": np.eye(2), "y": ["cat", "dog"]}
    call(lambda client: client.jobs.submit(task="classification", data=data), base_url=stub.url)
    assert stub.received[0].headers["content-type"] == "application/x-npz"
    assert json.loads(stub.received[1].body) == {"task": "classification", "data": {"dataset": "sha256-9"}}
