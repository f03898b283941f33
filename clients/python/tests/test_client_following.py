"""Both clients follow a job, by its events and by its end, while the server misbehaves on a real socket."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from stub_answers import DONE, JOB, MODEL

from dropout_client import (
    APIConnectionError,
    Client,
    ConflictError,
    JobCancelledError,
    JobFailedError,
    UnexpectedResponseError,
    WaitTimeoutError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Stub

    Call = Callable[..., Any]


def event(sequence: int, kind: str) -> bytes:
    data = json.dumps({"sequence": sequence, "type": kind, "at": "2026-11-22T09:00:00Z", "data": {}})
    return f"id: {sequence}\nevent: {kind}\ndata: {data}\n\n".encode()


def test_events_go_on_after_a_broken_connection(stub: Stub, call: Call):
    def cut(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Content-Length", "10000")
        handler.end_headers()
        handler.wfile.write(event(1, "queued") + event(2, "started") + event(3, "epoch")[:20])

    stub.answer(200, JOB)
    stub.script.append(cut)
    stub.answer(200, event(2, "started") + event(3, "epoch"), Content_Type="text/event-stream")
    stub.answer(200, event(4, "succeeded") + event(5, "never read"), Content_Type="text/event-stream")

    assert [one.sequence for one in call(_events, base_url=stub.url)] == [1, 2, 3, 4]
    assert [one.headers.get("last-event-id") for one in stub.received[1:]] == [None, "2", "3"]


def _events(client: Any) -> Any:
    """Both clients give an iterator of events; the awaiting one must fetch the job first."""
    if isinstance(client, Client):
        return client.jobs.get("job_1").events()

    async def events() -> Any:
        async for one in (await client.jobs.get("job_1")).events():
            yield one

    return events()


def test_leaving_the_events_early_gives_the_connection_back(stub: Stub):
    def endless(handler: Any) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream; charset=utf-8")
        handler.end_headers()
        handler.wfile.write(event(1, "queued"))
        stub.stopping.wait()

    stub.answer(200, JOB)
    stub.script.append(endless)
    with Client(stub.url) as client:
        events = client.jobs.get("job_1").events()
        assert next(events).type == "queued"
        events.close()  # pyright: ignore[reportAttributeAccessIssue] # a generator
        assert not client._runner.http._transport._pool.connections  # pyright: ignore[reportAttributeAccessIssue] # of httpx, private


def _result(client: Any, **arguments: Any) -> Any:
    if isinstance(client, Client):
        return client.jobs.get("job_1").result(**arguments)

    async def result() -> Any:
        return await (await client.jobs.get("job_1")).result(**arguments)

    return result()


def test_result_waits_and_gives_the_model(stub: Stub, call: Call):
    for content in (JOB, JOB, DONE, MODEL):
        stub.answer(200, content)
    assert call(_result, base_url=stub.url).id == "model_1"
    assert [one.path for one in stub.received] == ["/jobs/job_1", *["/jobs/job_1?wait=30.0"] * 2, "/models/model_1"]


def test_a_failure_is_raised_with_its_hint(stub: Stub, call: Call):
    failure = {"code": "diverged", "epoch": 2, "message": "the loss is NaN", "hint": "lower it", "phase": "training"}
    stub.answer(200, JOB)
    stub.answer(200, {**JOB, "status": "failed", "failure": failure})
    with pytest.raises(
        JobFailedError, match=r"failed \(diverged\) in epoch 2: the loss is NaN\. Hint: lower it"
    ) as told:
        call(_result, base_url=stub.url)
    assert (told.value.code, told.value.epoch, told.value.hint) == ("diverged", 2, "lower it")
    stub.answer(200, {**JOB, "status": "cancelled"})
    stub.answer(200, {**JOB, "status": "cancelled"})
    with pytest.raises(JobCancelledError):
        call(_result, base_url=stub.url)


def test_waiting_outlasts_a_restart_of_the_service(stub: Stub, call: Call):
    stub.answer(200, JOB)
    stub.drop()
    stub.answer(503, {})
    stub.answer(200, DONE)
    stub.answer(200, MODEL)
    assert call(_result, base_url=stub.url, max_retries=0).id == "model_1"


def test_waiting_does_not_outlast_its_own_end(stub: Stub, call: Call):
    stub.answer(200, JOB)
    stub.drop()
    with pytest.raises(APIConnectionError):
        call(lambda client: _result(client, timeout=0), base_url=stub.url, max_retries=0)


def test_events_outlast_a_restart_of_the_service(stub: Stub, call: Call):
    stub.answer(200, JOB)
    stub.drop()
    stub.answer(200, event(1, "queued") + event(2, "cancelled"), Content_Type="text/event-stream")
    assert [one.type for one in call(_events, base_url=stub.url, max_retries=0)] == ["queued", "cancelled"]


def test_events_of_another_kind_are_told_as_such(stub: Stub, call: Call):
    stub.answer(200, JOB)
    stub.answer(200, b"<html>hello</html>", Content_Type="text/html")
    with pytest.raises(UnexpectedResponseError, match="events of job job_1 came as text/html"):
        call(_events, base_url=stub.url)


def test_a_cancellation_whose_answer_was_lost_has_been_done(stub: Stub, call: Call):
    cancelled = {**JOB, "status": "cancelled"}
    stub.answer(200, JOB)
    stub.drop()
    stub.answer(409, {})
    stub.answer(200, cancelled)
    assert call(_cancelled, base_url=stub.url).status == "cancelled"
    assert [(one.method, one.path) for one in stub.received][1:] == [
        *[("POST", "/jobs/job_1/cancel")] * 2,
        ("GET", "/jobs/job_1"),
    ]


def test_a_job_that_has_ended_otherwise_cannot_be_cancelled(stub: Stub, call: Call):
    stub.answer(200, JOB)
    stub.answer(409, {})
    stub.answer(200, DONE)
    with pytest.raises(ConflictError):
        call(_cancelled, base_url=stub.url)


def _cancelled(client: Any) -> Any:
    if isinstance(client, Client):
        return client.jobs.get("job_1").cancel()

    async def cancelled() -> Any:
        return await (await client.jobs.get("job_1")).cancel()

    return cancelled()


def test_waiting_has_an_end(stub: Stub, call: Call):
    for _ in range(3):
        stub.answer(200, JOB)
    with pytest.raises(WaitTimeoutError, match=r"job job_1 is running after 0 s; it runs on"):
        call(lambda client: _result(client, timeout=0), base_url=stub.url)
