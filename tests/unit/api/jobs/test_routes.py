"""The HTTP of jobs on the real application, without a dispatcher: the tests play the attempts."""

from __future__ import annotations

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from dropout_service.api.dropout import forms
from dropout_service.api.jobs import routes
from dropout_service.app import create_app
from dropout_service.database.engine import open_database
from dropout_service.jobs.attempts import Attempt, Outcome, Report, Restored
from dropout_service.jobs.job import Failure, StopReason
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.jobs.watch import Watcher
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from fastapi import FastAPI

X = [[0.0, 1.0], [1.0, 0.0], [0.5, 0.5], [0.2, 0.9]] * 3
Y = ["a", "b", "b", "a"] * 3


@pytest.fixture
def store(settings: Settings, client: httpx.Client) -> Iterator[SqlJobStore]:
    """Open the database as a dispatcher would: beside the application."""
    assert client is not None
    engine = open_database(settings.database_url)
    yield SqlJobStore(engine)
    engine.dispose()


def body(**fields: Any) -> dict[str, Any]:
    return {"task": "classification", "data": {"x": X, "y": Y}, "epochs": 4, **fields}


def submit(client: httpx.Client, **fields: Any) -> str:
    answer = client.post("/jobs", json=body(**fields))
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def test_a_body_that_is_not_json_is_not_read(client: httpx.Client):
    for headers in ({"Content-Type": "application/yaml"}, {}):
        answer = client.post("/jobs", content=b"task: regression", headers=headers)
        assert answer.status_code == 415
        assert "application/json" in answer.json()["detail"]


def test_a_name_that_occurs_twice_in_a_body_is_refused(client: httpx.Client):
    given = json.dumps(body())[:-1] + ', "epochs": 5}'
    answer = client.post("/jobs", content=given, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    assert answer.json()["errors"] == [{"pointer": "/epochs", "message": "this name occurs twice; give it once"}]


def test_many_rows_in_place_are_read_in_the_compute_pool(settings: Settings, open_client: Callable[..., httpx.Client]):
    client = open_client(create_app(settings))
    rows = 4000
    answer = client.post("/jobs", json=body(data={"x": X * (rows // len(X)), "y": Y * (rows // len(Y))}))
    assert answer.status_code == 202, answer.text
    assert "compute-1" in {thread.name for thread in threading.enumerate()}


def metrics(epoch: int) -> dict[str, Any]:
    return {
        "epoch": epoch,
        "epochs": 4,
        "step": epoch * 3,
        "learning_rate": 0.001,
        "train": {"loss": 1 / epoch, "accuracy": 0.5},
        "validation": None,
        "best_epoch": None,
    }


def claim(store: SqlJobStore) -> Attempt:
    (job,) = store.claim(1, dispatcher="test", lease_s=60)
    return Attempt(job.id, job.attempt)


def run_to_the_end(store: SqlJobStore, epochs: int = 4) -> None:
    attempt = claim(store)
    done = tuple({**metrics(epoch), "duration_s": 0.1} for epoch in range(1, epochs + 1))
    assert store.finish(attempt, Outcome(StopReason.COMPLETED, model="model_1"), Report(1.0, done))


def frames(text: str) -> list[dict[str, str]]:
    blocks = [block for block in text.split("\n\n") if block]
    return [dict(line.split(": ", 1) for line in block.splitlines()) for block in blocks]


def test_a_submitted_job_is_accepted_and_told_where(client: httpx.Client):
    answer = client.post("/jobs", json=body(name="first"))
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/jobs/{job['id']}"
    assert int(answer.headers["retry-after"]) >= 1
    assert (job["status"], job["name"], job["epochs"], job["attempt"]) == ("queued", "first", 4, 0)
    assert (job["stop_reason"], job["model"], job["failure"], job["metrics"]) == (None, None, None, None)
    assert job["created_at"].endswith("Z")
    assert client.get(answer.headers["location"]).json() == job


def test_arrays_in_place_become_a_dataset(client: httpx.Client):
    job = client.get(f"/jobs/{submit(client)}").json()
    assert job["spec"]["data"]["x"] is None
    dataset = client.get(f"/datasets/{job['spec']['data']['dataset']}").json()
    assert dataset["schema"]["rows"] == len(X)
    again = client.get(f"/jobs/{submit(client, seed=3)}").json()
    assert again["spec"]["data"]["dataset"] == dataset["id"]


@pytest.mark.parametrize(
    ("fields", "pointer"),
    [
        ({"epochs": 0}, "/epochs"),
        ({"epoch": 3}, "/epoch"),
        ({"epochs": "5"}, "/epochs"),
        ({"model": {"hidden": ["8"]}}, "/model/hidden/0"),
        ({"priority": "3"}, "/priority"),
        ({"task": "clustering"}, "/task"),
        ({"data": {"dataset": "sha256-unknown"}}, "/data/dataset"),
        ({"data": {"x": [[1.0], [1.0, 2.0]], "y": [0, 1]}}, "/data/x/1"),
        ({"data": {"x": X, "y": Y[:-1]}}, "/data/y"),
        ({"task": "regression"}, None),
        ({"data": {"x": X, "y": [0, 1, 2] * 4}, "loss": "binary_cross_entropy"}, "/loss"),
        ({"data": {"x": X, "y": [2**70] * 12}}, "/data/y/0"),
        ({"data": {"x": X, "y": [1] * 12}}, "/data/target"),
        ({"model": {"hidden": [65_536, 65_536]}}, "/model/hidden"),
        ({"priority": 101}, "/priority"),
        ({"priority": 1.5}, "/priority"),
        ({"max_attempts": 0}, "/max_attempts"),
        ({"max_memory_bytes": 300_000_000}, "/max_memory_bytes"),
        ({"max_memory_bytes": 1_600_000_000, "threads": 8}, "/max_memory_bytes"),
    ],
)
def test_a_wrong_specification_is_refused_before_it_is_accepted(
    client: httpx.Client, fields: dict[str, Any], pointer: str | None
):
    answer = client.post("/jobs", json=body(**fields))
    assert answer.status_code == 422
    pointers = [error["pointer"] for error in answer.json()["errors"]]
    assert pointers
    assert pointer is None or pointer in pointers
    assert client.get("/jobs").json()["items"] == []
    assert client.get("/datasets").json()["items"] == []


def test_lists_come_in_pages_and_by_status(client: httpx.Client, store: SqlJobStore):
    ids = [submit(client, seed=seed) for seed in range(5)]
    claim(store)
    assert [job["id"] for job in client.get("/jobs?status=running").json()["items"]] == ids[:1]
    seen: list[str] = []
    cursor = ""
    while True:
        page = client.get(f"/jobs?limit=2{cursor}").json()
        seen += [job["id"] for job in page["items"]]
        if page["next_cursor"] is None:
            break
        cursor = f"&cursor={page['next_cursor']}"
    assert seen == ids[::-1]
    assert client.get("/jobs?status=done").status_code == 422


def test_a_running_job_tells_its_progress(client: httpx.Client, store: SqlJobStore):
    job_id = submit(client)
    attempt = claim(store)
    store.heartbeat(attempt, Report(0.25, (metrics(1),)), lease_s=60)
    store.heartbeat(attempt, Report(0.5, (metrics(2),)), lease_s=60)
    job = client.get(f"/jobs/{job_id}").json()
    assert (job["status"], job["progress"], job["epoch"], job["attempt"]) == ("running", 0.5, 2, 1)
    assert job["metrics"] == metrics(2)
    assert job["estimated_finish_at"] > job["started_at"]


def test_a_finished_job_names_its_model_and_a_failed_one_its_fault(client: httpx.Client, store: SqlJobStore):
    finished, failed = submit(client), submit(client)
    run_to_the_end(store)
    failure = Failure("diverged", "training", 2, "the loss is no longer finite", "lower the learning rate")
    store.finish(claim(store), Outcome(StopReason.DIVERGED, failure=failure))
    job = client.get(f"/jobs/{finished}").json()
    assert (job["status"], job["stop_reason"], job["model"]) == ("succeeded", "completed", "model_1")
    job = client.get(f"/jobs/{failed}").json()
    assert (job["status"], job["stop_reason"], job["failure"]["code"]) == ("failed", "diverged", "diverged")
    assert job["failure"]["hint"] == "lower the learning rate"


def test_waiting_ends_with_the_job(client: httpx.Client, store: SqlJobStore):
    job_id = submit(client)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(client.get, f"/jobs/{job_id}?wait=30")
        run_to_the_end(store)
        started = time.monotonic()
        assert waiting.result(timeout=10).json()["status"] == "succeeded"
        assert time.monotonic() - started < 5


def test_waiting_ends_with_the_time(client: httpx.Client):
    job_id = submit(client)
    started = time.monotonic()
    assert client.get(f"/jobs/{job_id}?wait=0.2").json()["status"] == "queued"
    assert 0.2 <= time.monotonic() - started < 5
    assert client.get(f"/jobs/{job_id}?wait=61").status_code == 422


def test_cancelling(client: httpx.Client, store: SqlJobStore):
    running, waiting = submit(client), submit(client)
    attempt = claim(store)
    answer = client.post(f"/jobs/{running}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelling")
    store.finish(attempt, Outcome(StopReason.CANCELLED))
    answer = client.post(f"/jobs/{waiting}/cancel")
    assert (answer.status_code, answer.json()["status"]) == (202, "cancelled")
    for job_id in (running, waiting):
        assert client.get(f"/jobs/{job_id}").json()["stop_reason"] == "cancelled"
        assert client.post(f"/jobs/{job_id}/cancel").status_code == 409


def test_pausing_and_resuming(client: httpx.Client, store: SqlJobStore):
    running, waiting = submit(client), submit(client)
    attempt = claim(store)
    for _ in range(2):  # a repeated request changes nothing
        answer = client.post(f"/jobs/{running}/pause")
        assert (answer.status_code, answer.json()["status"]) == (202, "pausing")
        answer = client.post(f"/jobs/{waiting}/pause")
        assert (answer.status_code, answer.json()["status"]) == (202, "paused")
    store.release(attempt, Report(0.5, (metrics(1), metrics(2)), "checkpoint"), reason="pause")
    job = client.get(f"/jobs/{running}").json()
    assert (job["status"], job["epoch"], job["stop_reason"], job["estimated_finish_at"]) == ("paused", 2, None, None)
    assert {job["id"] for job in client.get("/jobs?status=paused").json()["items"]} == {running, waiting}
    for _ in range(2):
        answer = client.post(f"/jobs/{running}/resume")
        assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    run_to_the_end(store)
    client.post(f"/jobs/{waiting}/cancel")
    for job_id in (running, waiting):
        for verb in ("pause", "resume"):
            answer = client.post(f"/jobs/{job_id}/{verb}")
            assert answer.status_code == 409
            assert "can no longer be" in answer.json()["detail"]
    assert client.post("/jobs/job_unknown/pause").status_code == 404


def test_how_a_job_is_run_is_told_and_is_no_part_of_what_it_trains(client: httpx.Client, store: SqlJobStore):
    plain = client.get(f"/jobs/{submit(client)}").json()
    assert (plain["priority"], plain["max_attempts"], plain["max_memory_bytes"]) == (0, 3, None)
    run = {"priority": 7, "max_attempts": 5, "max_memory_bytes": 3_000_000_000}
    urgent = client.get(f"/jobs/{submit(client, **run)}").json()
    assert {name: urgent[name] for name in run} == run
    assert urgent["spec"] == plain["spec"]
    (first,) = store.claim(1, dispatcher="test", lease_s=60)
    assert first.id == urgent["id"]


def test_a_job_gets_no_more_memory_than_the_service_grants(
    tmp_path: Path, open_client: Callable[[FastAPI], httpx.Client]
):
    client = open_client(create_app(Settings(data_dir=tmp_path, dispatcher=False, job_memory_bytes=2_000_000_000)))
    assert client.post("/jobs", json=body(max_memory_bytes=2_000_000_000)).status_code == 202
    answer = client.post("/jobs", json=body(max_memory_bytes=2_000_000_001))
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == "/max_memory_bytes"
    assert "at most 2000000000 bytes" in error["message"]


def test_the_answer_about_a_job_lists_its_attempts(client: httpx.Client, store: SqlJobStore):
    job_id = submit(client)
    assert client.get(f"/jobs/{job_id}").json()["attempts"] == []
    attempt = claim(store)
    store.heartbeat(attempt, Report(0.5, (metrics(1), metrics(2)), "checkpoint"), lease_s=60)
    store.crash(attempt, StopReason.LOST, Failure("lost", "training", None, "killed from outside"))
    attempt = claim(store)
    store.heartbeat(attempt, Report(0.5, restored=Restored(2, 6)), lease_s=60)
    first, second = client.get(f"/jobs/{job_id}").json()["attempts"]
    assert first["ended_at"] >= first["started_at"]
    assert (first["number"], first["reason"], first["message"], first["epoch"]) == (
        1,
        "lost",
        "killed from outside",
        None,
    )
    assert (second["number"], second["ended_at"], second["reason"]) == (2, None, None)
    assert (second["epoch"], second["step"]) == (2, 6)
    assert client.get("/jobs").json()["items"][0]["attempts"] is None
    assert len(client.post(f"/jobs/{job_id}/pause").json()["attempts"]) == 2


def test_only_an_ended_job_is_deleted(client: httpx.Client):
    job_id = submit(client)
    assert client.delete(f"/jobs/{job_id}").status_code == 409
    client.post(f"/jobs/{job_id}/cancel")
    assert client.delete(f"/jobs/{job_id}").status_code == 204
    assert client.get(f"/jobs/{job_id}").status_code == 404


@pytest.mark.parametrize("path", ["", "/events", "/metrics"])
def test_a_job_that_is_not_there(client: httpx.Client, path: str):
    answer = client.get(f"/jobs/job_unknown{path}")
    assert answer.status_code == 404
    assert answer.headers["content-type"] == "application/problem+json"
    assert "job_unknown" in answer.json()["detail"]


def test_metrics_come_in_order_and_in_pages(client: httpx.Client, store: SqlJobStore):
    job_id = submit(client)
    run_to_the_end(store)
    assert client.get(f"/jobs/{job_id}/metrics").json() == {
        "items": [metrics(epoch) for epoch in range(1, 5)],
        "next_after": None,
    }
    page = client.get(f"/jobs/{job_id}/metrics?limit=3").json()
    assert ([item["epoch"] for item in page["items"]], page["next_after"]) == ([1, 2, 3], 3)
    page = client.get(f"/jobs/{job_id}/metrics?after=3").json()
    assert [item["epoch"] for item in page["items"]] == [4]


def test_events_as_pages(client: httpx.Client, store: SqlJobStore):
    job_id = submit(client)
    run_to_the_end(store)
    accept = {"accept": "application/json"}
    page = client.get(f"/jobs/{job_id}/events?limit=3", headers=accept).json()
    assert [event["type"] for event in page["items"]] == ["queued", "started", "epoch"]
    assert page["next_after"] == 3
    page = client.get(f"/jobs/{job_id}/events?after=3", headers=accept).json()
    assert [event["sequence"] for event in page["items"]] == [4, 5, 6, 7]
    assert page["items"][0]["data"]["duration_s"] == 0.1
    page = client.get(f"/jobs/{job_id}/events?after=7", headers=accept).json()
    assert page == {"items": [], "next_after": 7}
    assert client.get(f"/jobs/{job_id}/events", headers={"accept": "text/html"}).status_code == 406


def test_the_stream_ends_with_the_job(client: httpx.Client, store: SqlJobStore):
    job_id = submit(client)
    with ThreadPoolExecutor(1) as pool:
        streaming = pool.submit(client.get, f"/jobs/{job_id}/events")
        run_to_the_end(store)
        answer = streaming.result(timeout=20)
    assert answer.headers["content-type"].startswith("text/event-stream")
    got = frames(answer.text)
    assert [frame["event"] for frame in got] == ["queued", "started", *["epoch"] * 4, "succeeded"]
    assert [frame["id"] for frame in got] == [str(sequence) for sequence in range(1, 8)]
    last = json.loads(got[-1]["data"])
    assert (last["sequence"], last["type"], last["data"]["model"]) == (7, "succeeded", "model_1")


def test_the_stream_resumes_after_the_last_event_and_then_says_that_it_is_over(
    client: httpx.Client, store: SqlJobStore
):
    job_id = submit(client)
    run_to_the_end(store)
    answer = client.get(f"/jobs/{job_id}/events", headers={"last-event-id": "5"})
    assert [frame["id"] for frame in frames(answer.text)] == ["6", "7"]
    assert client.get(f"/jobs/{job_id}/events", headers={"last-event-id": "7"}).status_code == 204
    assert client.get(f"/jobs/{job_id}/events", headers={"last-event-id": "x"}).status_code == 422


@pytest.mark.parametrize("ended", [True, False], ids=["ended", "running"])
def test_a_position_that_the_job_never_had_is_refused(client: httpx.Client, store: SqlJobStore, *, ended: bool):
    job_id = submit(client)
    if ended:
        run_to_the_end(store)
    last = client.get(f"/jobs/{job_id}/events?limit=1000", headers={"accept": "application/json"}).json()["next_after"]
    for accept in ("application/json", "text/event-stream"):
        answer = client.get(f"/jobs/{job_id}/events", headers={"accept": accept, "last-event-id": str(last + 1)})
        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["pointer"] == "/Last-Event-ID"
        assert f"the latest event of this job is {last}" in error["message"]
        answer = client.get(f"/jobs/{job_id}/events?after={last + 1}", headers={"accept": accept})
        assert answer.json()["errors"][0]["pointer"] == "/after"


def test_pages_are_stable_while_jobs_are_submitted_and_deleted(client: httpx.Client):
    before = [submit(client, seed=seed) for seed in range(12)]
    stop = threading.Event()
    others: list[str] = []

    def disturb() -> None:
        while not stop.is_set():
            others.append(submit(client, seed=100))
            if len(others) % 2:
                client.post(f"/jobs/{others[-1]}/cancel")
                client.delete(f"/jobs/{others[-1]}")

    disturber = threading.Thread(target=disturb)
    disturber.start()
    try:
        for _ in range(5):
            seen: list[str] = []
            cursor: str | None = None
            while True:
                page = client.get("/jobs", params={"limit": 2, **({"cursor": cursor} if cursor else {})}).json()
                seen += [job["id"] for job in page["items"]]
                cursor = page["next_cursor"]
                if cursor is None:
                    break
            assert len(seen) == len(set(seen)), "no job comes twice"
            assert seen == sorted(seen, reverse=True)
            assert [job_id for job_id in seen if job_id in before] == before[::-1], "and none is left out"
    finally:
        stop.set()
        disturber.join()
    assert others


def test_a_keep_alive_frame_carries_no_id(client: httpx.Client, store: SqlJobStore, monkeypatch: pytest.MonkeyPatch):
    job_id = submit(client)
    asked = 0

    async def cancel_after_two(*arguments: Any, **options: Any) -> bool:
        nonlocal asked
        asked += 1
        if asked == 3:  # the stream waits before each comment
            store.request_cancel(job_id)
        return await moved(*arguments, **options)

    moved = Watcher.moved
    monkeypatch.setattr(Watcher, "moved", cancel_after_two)
    monkeypatch.setattr("dropout_service.api.jobs.routes._KEEP_ALIVE_S", 0.02)
    text = client.get(f"/jobs/{job_id}/events").text
    assert [block for block in text.split("\n\n") if block.startswith(":")] == [": ping"] * 2


def test_a_repeated_request_creates_nothing_and_gets_the_same_answer(client: httpx.Client, store: SqlJobStore):
    key = {"idempotency-key": "k1"}
    first = client.post("/jobs", json=body(), headers=key)
    run_to_the_end(store)
    second = client.post("/jobs", json=body(), headers=key)
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert second.headers["location"] == first.headers["location"]
    assert second.headers["idempotency-replayed"] == "true"
    assert "idempotency-replayed" not in first.headers
    assert len(client.get("/jobs").json()["items"]) == 1
    other_key = client.post("/jobs", json=body(), headers={"idempotency-key": "k2"})
    assert other_key.json()["id"] != first.json()["id"]


def test_a_key_with_another_body_is_refused(client: httpx.Client):
    key = {"idempotency-key": "k1"}
    client.post("/jobs", json=body(), headers=key)
    answer = client.post("/jobs", json=body(seed=1), headers=key)
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/Idempotency-Key"
    assert client.post("/jobs", json=body(), headers={"idempotency-key": "a b"}).status_code == 422


def test_a_refused_request_gives_its_key_back(client: httpx.Client):
    key = {"idempotency-key": "k1"}
    missing = body(data={"dataset": "sha256-unknown"})
    assert client.post("/jobs", json=missing, headers=key).status_code == 422
    assert client.post("/jobs", json=body(), headers=key).status_code == 202


def test_many_requests_at_once_with_one_key_create_one_job(client: httpx.Client):
    barrier = threading.Barrier(6)

    def post() -> httpx.Response:
        barrier.wait()
        return client.post("/jobs", json=body(), headers={"idempotency-key": "k1"})

    with ThreadPoolExecutor(6) as pool:
        answers = [future.result() for future in [pool.submit(post) for _ in range(6)]]
    assert {answer.status_code for answer in answers} <= {202, 409}
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 202}) == 1
    assert len(client.get("/jobs").json()["items"]) == 1
    for answer in answers:
        if answer.status_code == 409:
            assert answer.json()["type"].endswith("request-in-flight")


def test_arrays_of_a_refused_job_are_not_stored_nor_removed_where_they_were(client: httpx.Client, settings: Settings):
    refused = body(data={"x": X, "y": [float(i) for i in range(12)]})  # a class for each row
    assert client.post("/jobs", json=refused).status_code == 422
    assert client.get("/datasets").json()["items"] == []
    assert [path for path in (settings.data_dir / "blobs").rglob("*") if path.is_file()] == []
    job = submit(client)
    (dataset,) = client.get("/datasets").json()["items"]
    assert client.post("/jobs", json=body(loss="squared_error")).status_code == 422
    assert client.post("/jobs", json=body(model={"hidden": [65_536, 65_536]})).status_code == 422
    assert client.get("/datasets").json()["items"] == [dataset]
    assert client.get(f"/jobs/{job}").json()["spec"]["data"]["dataset"] == dataset["id"]


def test_a_misspelt_field_is_compared_with_the_fields_beside_it(client: httpx.Client):
    (top,) = client.post("/jobs", json=body(epoch=3)).json()["errors"]
    assert top["message"].endswith("did you mean `epochs`?")
    (inner,) = client.post("/jobs", json=body(model={"epochs": 3})).json()["errors"]
    assert (inner["pointer"], inner["message"]) == ("/model/epochs", "there is no such field; check its spelling")


def test_a_job_beyond_the_limits_is_told_which_setting_allows_more(
    tmp_path: Path, open_client: Callable[[FastAPI], httpx.Client]
):
    tight = Settings(data_dir=tmp_path, dispatcher=False, max_parameters=1000, max_activations=50_000)
    client = open_client(create_app(tight))
    for fields, setting, pointer in (
        ({"model": {"hidden": [400], "dropout": 0}}, "MAX_PARAMETERS", "/model/hidden"),
        ({"model": {"hidden": [60], "dropout": 0}}, "MAX_ACTIVATIONS", "/model/hidden"),
    ):
        problem = client.post("/jobs", json=body(**fields)).json()
        assert problem["type"].endswith(":over-budget")
        assert problem["excess"]["setting"] == f"DROPOUT_SERVICE_{setting}"
        assert [error["pointer"] for error in problem["errors"]] == [pointer]
    assert client.post("/jobs", json=body(model={"hidden": [20], "dropout": 0})).status_code == 202


def test_a_page_of_metrics_has_a_bound(client: httpx.Client):
    job = submit(client)
    assert client.get(f"/jobs/{job}/metrics?limit=10000").status_code == 200
    (error,) = client.get(f"/jobs/{job}/metrics?limit=10001").json()["errors"]
    assert error["pointer"] == "/limit"


def test_a_body_of_json_is_read_off_the_event_loop(client: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    readers: list[str] = []
    for module in (routes, forms):
        read = module.read_json_object

        def reading(*arguments: Any, read: Callable[..., Any] = read) -> Any:
            readers.append(threading.current_thread().name)
            return read(*arguments)

        monkeypatch.setattr(module, "read_json_object", reading)
    submit(client)
    assert client.post("/dropout/forward", json={"x": [0.5] * 20_000, "rate": 0.5}).status_code == 200
    assert len(readers) == 2
    assert all(name.startswith(("AnyIO worker", "compute-")) for name in readers)
