"""Jobs from end to end: the real server, its dispatcher and its training processes, over HTTP."""

from __future__ import annotations

import json
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import waiting
from live_server import serve

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from live_server import LiveServer

PATIENCE_S = 40.0
wait_for = partial(waiting.wait_for, patience_s=PATIENCE_S)
X = [[float(i % 7), float(i % 3), float(i * i % 5)] for i in range(200)]
Y = [["even", "odd"][i % 2] for i in range(200)]


def body(**fields: Any) -> dict[str, Any]:
    spec = {"task": "classification", "data": {"x": X, "y": Y}, "model": {"hidden": [32]}, "epochs": 20}
    return {**spec, **fields}


def submit(client: httpx.Client, **fields: Any) -> str:
    answer = client.post("/jobs", json=body(**fields))
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        job = client.get(f"/jobs/{job_id}?wait=20").json()
        if job["status"] in {"succeeded", "failed", "cancelled"}:
            return job
        assert time.monotonic() < deadline, job


@pytest.fixture
def client(live_server: LiveServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=live_server.url, timeout=60) as client:
        yield client


def test_a_job_trains_a_model(client: httpx.Client):
    job = ended(client, submit(client, name="parity"))
    assert (job["status"], job["stop_reason"], job["epoch"], job["progress"]) == ("succeeded", "completed", 20, 1)
    assert job["metrics"]["epoch"] == 20
    assert len(client.get(f"/jobs/{job['id']}/metrics").json()["items"]) == 20
    model = client.get(f"/models/{job['model']}").json()
    assert (model["job"], model["name"]) == (job["id"], "parity")
    again = ended(client, submit(client))
    on_two = ended(client, submit(client, threads=2))
    assert on_two["status"] == "succeeded"
    assert client.get(f"/models/{again['model']}").json()["weights_digest"] == model["weights_digest"]
    assert client.delete(f"/jobs/{again['id']}?model=true").status_code == 204
    assert client.get(f"/models/{again['model']}").status_code == 404
    assert client.delete(f"/jobs/{job['id']}").status_code == 204
    assert client.get(f"/models/{job['model']}/weights").status_code == 200, "a model stays unless it is asked for"


def test_events_arrive_while_the_job_runs_and_the_stream_ends_with_it(client: httpx.Client):
    job_id = submit(client, epochs=1_000_000)
    types: list[str] = []
    with client.stream("GET", f"/jobs/{job_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                types.append(json.loads(line.removeprefix("data: "))["type"])
                if types[-1] == "epoch" and "cancelling" not in types and len(types) == 5:
                    assert client.post(f"/jobs/{job_id}/cancel").status_code == 202
    assert types[:3] == ["queued", "started", "epoch"]
    assert types[-2:] == ["cancelling", "cancelled"]


def test_a_training_that_diverges_fails_with_a_hint(client: httpx.Client):
    wild = {"kind": "sgd", "learning_rate": 1000.0, "momentum": 0.99}
    x = [[value * 1e6 for value in row] for row in X]
    job = ended(
        client,
        submit(
            client,
            task="regression",
            data={"x": x, "y": [row[0] for row in x]},
            optimizer=wild,
            standardize=False,
            epochs=200,
        ),
    )
    assert (job["status"], job["stop_reason"]) == ("failed", "diverged")
    assert job["failure"]["epoch"] >= 1
    assert "learning rate" in job["failure"]["hint"]


def test_a_killed_training_process_leaves_the_api_alone(live_server: LiveServer, client: httpx.Client):
    job_id = submit(client, epochs=1_000_000)
    wait_for(lambda: client.get(f"/jobs/{job_id}").json()["epoch"], "the first epoch")
    server = psutil.Process(live_server.process.pid)
    # Beside it may be the process that reads uploads
    (dispatcher,) = (child for child in server.children() if "dropout_service.dispatch" in child.cmdline())
    (forkserver,) = dispatcher.children()
    (attempt,) = forkserver.children()
    attempt.kill()
    wait_for(lambda: client.get(f"/jobs/{job_id}").json()["attempt"] == 2, "the second attempt")
    assert client.get("/livez").status_code == 200
    assert live_server.process.poll() is None
    client.post(f"/jobs/{job_id}/cancel")
    assert ended(client, job_id)["status"] == "cancelled"


def test_a_stopped_server_leaves_its_jobs_to_the_next(tmp_path: Path):
    with serve(tmp_path / "data") as server:
        with httpx.Client(base_url=server.url, timeout=60) as client:
            job_id = submit(client, epochs=9_000)
            wait_for(lambda: client.get(f"/jobs/{job_id}").json()["epoch"], "the first epoch")
        family = psutil.Process(server.process.pid).children(recursive=True)
        with httpx.stream("GET", f"{server.url}/jobs/{job_id}/events", timeout=60) as stream:
            lines = stream.iter_lines()
            next(lines)
            assert server.stop() == 0
            for _ in lines:  # a stream that is open ends in good order
                pass
        assert not any(one.is_running() for one in family)
    with serve(tmp_path / "data") as server, httpx.Client(base_url=server.url, timeout=60) as client:
        assert ended(client, job_id)["status"] == "succeeded"
        attempts = client.get(f"/jobs/{job_id}").json()["attempts"]
        epochs = client.get(f"/jobs/{job_id}/metrics").json()["items"]
    assert [attempt["reason"] for attempt in attempts] == ["shutdown", "completed"]
    assert [entry["epoch"] for entry in epochs] == list(range(1, 9_001))


def test_a_connection_stays_usable_after_heads_and_answers_without_a_body(live_server: LiveServer):
    with httpx.Client(base_url=live_server.url, timeout=30, limits=httpx.Limits(max_connections=1)) as client:
        job_id = submit(client, epochs=1_000_000)
        try:
            for _ in range(3):
                assert client.head(f"/jobs/{job_id}/events").status_code == 200
                assert client.head(f"/jobs/{job_id}").headers["etag"]
                etag = client.get("/datasets?limit=1").headers["etag"]
                assert client.get("/datasets?limit=1", headers={"If-None-Match": etag}).status_code == 304
                assert client.get(f"/jobs/{job_id}").json()["id"] == job_id
        finally:
            client.post(f"/jobs/{job_id}/cancel")


def events_page(client: httpx.Client, job_id: str, after: int) -> dict[str, Any]:
    path = f"/jobs/{job_id}/events?limit=1000&after={after}"
    return client.get(path, headers={"Accept": "application/json"}).json()


def test_a_stream_that_has_nothing_to_tell_is_open_at_once(client: httpx.Client):
    job_id = submit(client, epochs=1_000_000)
    try:
        client.post(f"/jobs/{job_id}/pause")
        wait_for(lambda: client.get(f"/jobs/{job_id}").json()["status"] == "paused", "the pause")
        latest = 0
        while (page := events_page(client, job_id, latest))["items"]:
            latest = page["next_after"]
        begin = time.monotonic()
        with client.stream("GET", f"/jobs/{job_id}/events", headers={"Last-Event-ID": str(latest)}) as stream:
            assert stream.status_code == 200
            assert time.monotonic() - begin < 10, "before the first comment, which keeps an idle stream alive"
    finally:
        client.post(f"/jobs/{job_id}/cancel")
