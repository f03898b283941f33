"""Several replicas of the service, each with its dispatcher, over one PostgreSQL and one blob store."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import waiting
from live_server import serve
from postgres import run_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from live_server import LiveServer
    from postgres import PostgresServer

PATIENCE_S = 60.0
wait_for = partial(waiting.wait_for, patience_s=PATIENCE_S)
TERMINAL = {"succeeded", "failed", "cancelled"}
X = [[float(i % 7), float(i % 3), float(i * i % 5)] for i in range(200)]
Y = [["even", "odd"][i % 2] for i in range(200)]


def submit(client: httpx.Client, **fields: Any) -> str:
    spec = {"task": "classification", "data": {"x": X, "y": Y}, "model": {"hidden": [32]}, "epochs": 10}
    answer = client.post("/jobs", json={**spec, **fields})
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def follow(client: httpx.Client, job_id: str, after: int = 0) -> list[dict[str, Any]]:
    """Read the stream of events until it ends, by itself or because its server died."""
    events: list[dict[str, Any]] = []
    with (
        contextlib.suppress(httpx.TransportError),
        client.stream("GET", f"/jobs/{job_id}/events", headers={"Last-Event-ID": str(after)}) as stream,
    ):
        for line in stream.iter_lines():
            if line.startswith("data: "):
                events.append(json.loads(line.removeprefix("data: ")))  # noqa: PERF401 - kept when the stream breaks
    return events


def ended(client: httpx.Client, job_id: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while (job := client.get(f"/jobs/{job_id}?wait=20").json())["status"] not in TERMINAL:
        assert time.monotonic() < deadline, job
    return job


def digest(client: httpx.Client, job: dict[str, Any]) -> str:
    return client.get(f"/models/{job['model']}").json()["weights_digest"]


@contextmanager
def replicas(folder: Path, url: str, *, number: int = 2, lease_s: float = 5) -> Iterator[list[LiveServer]]:
    """Run replicas that start at the same time on an empty database."""
    environment = {
        "DROPOUT_SERVICE_DATABASE_URL": url,
        "DROPOUT_SERVICE_BLOB_URL": (folder / "blobs").as_uri(),
        "DROPOUT_SERVICE_WORKERS": "2",
        "DROPOUT_SERVICE_HEARTBEAT_S": "0.3",
        "DROPOUT_SERVICE_CHECKPOINT_S": "0.3",
        "DROPOUT_SERVICE_LEASE_S": str(lease_s),
    }
    with ExitStack() as stack:
        starting = [stack.enter_context(serve(folder / str(n), environment, wait=False)) for n in range(number)]
        for server in starting:
            server.wait_ready()
        yield starting


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[list[LiveServer]]:
    folder = tmp_path_factory.mktemp("replicas")
    with postgres.database("replicas") as url, replicas(folder, url) as servers:
        yield servers


@pytest.fixture
def pair(servers: list[LiveServer]) -> Iterator[list[httpx.Client]]:
    with (
        httpx.Client(base_url=servers[0].url, timeout=PATIENCE_S) as first,
        httpx.Client(base_url=servers[1].url, timeout=PATIENCE_S) as second,
    ):
        yield [first, second]


def test_jobs_given_to_either_run_once_and_are_followed_on_the_other(pair: list[httpx.Client]):
    jobs = [(submit(pair[n % 2], name=f"job {n}"), pair[(n + 1) % 2]) for n in range(10)]
    histories: dict[str, list[dict[str, Any]]] = {}
    followers = [
        threading.Thread(target=lambda job_id=job_id, other=other: histories.update({job_id: follow(other, job_id)}))
        for job_id, other in jobs
    ]
    for follower in followers:
        follower.start()
    for follower in followers:
        follower.join(PATIENCE_S)
    for job_id, other in jobs:
        told = histories[job_id]
        assert [event["sequence"] for event in told] == list(range(1, len(told) + 1))
        types = [event["type"] for event in told]
        assert types == ["queued", "started", *["epoch"] * 10, "succeeded"]
        assert other.get(f"/jobs/{job_id}").json()["status"] == "succeeded"
        # One result, whoever is asked.
        models = [client.get("/models", params={"job": job_id}).json()["items"] for client in pair]
        assert [[model["job"] for model in found] for found in models] == [[job_id], [job_id]]
    digests = {digest(other, ended(other, job_id)) for job_id, other in jobs}
    assert len(digests) == 1, "the same training gives the same weights wherever it runs"


def test_who_waits_at_one_replica_is_woken_by_a_change_at_the_other(pair: list[httpx.Client]):
    first, second = pair
    job_id = submit(first, epochs=1_000_000)
    woken: list[dict[str, Any]] = []
    waiting = threading.Thread(target=lambda: woken.append(ended(second, job_id)))
    waiting.start()
    wait_for(lambda: first.get(f"/jobs/{job_id}").json()["epoch"] > 0, "the job to run")
    began = time.monotonic()
    assert first.post(f"/jobs/{job_id}/cancel").status_code == 202
    waiting.join(PATIENCE_S)
    assert woken[0]["status"] == "cancelled"
    assert time.monotonic() - began < 15, "the long-poll was not woken"


def test_a_repeated_request_is_answered_by_the_other_replica_too(pair: list[httpx.Client]):
    body = {"task": "classification", "data": {"x": X, "y": Y}, "epochs": 1}
    headers = {"Idempotency-Key": "across-replicas"}
    answers: list[httpx.Response] = []
    go = threading.Barrier(8)

    def send(client: httpx.Client) -> None:
        go.wait()
        answers.append(client.post("/jobs", json=body, headers=headers))

    senders = [threading.Thread(target=send, args=(pair[n % 2],)) for n in range(8)]
    for sender in senders:
        sender.start()
    for sender in senders:
        sender.join(PATIENCE_S)
    assert {answer.status_code for answer in answers} <= {202, 409}
    repeated = [client.post("/jobs", json=body, headers=headers) for client in pair]
    accepted = {answer.json()["id"] for answer in [*answers, *repeated] if answer.status_code == 202}
    assert len(accepted) == 1
    assert [answer.headers["Idempotency-Replayed"] for answer in repeated] == ["true", "true"]


def test_while_the_database_is_away_a_training_goes_on_and_a_request_is_told_so(tmp_path: Path):
    with (
        run_postgres() as server,
        replicas(tmp_path, server.url(), number=1, lease_s=2) as (replica,),
        httpx.Client(base_url=replica.url, timeout=PATIENCE_S) as client,
    ):
        job_id = submit(client, epochs=1500)
        wait_for(lambda: client.get(f"/jobs/{job_id}").json()["epoch"] > 50, "the job to run")
        server.stop(server.AT_ONCE)
        away = client.get(f"/jobs/{job_id}")
        assert away.status_code == 503
        assert int(away.headers["Retry-After"]) > 0
        assert "the database does not answer" in away.json()["detail"]
        assert client.get("/livez").status_code == 200
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["checks"]["database"]) == (503, "failed: no answer")
        time.sleep(4)  # longer than the lease: the attempt must not be given up for an outage of the database
        server.start()
        job = ended(client, job_id)
        assert (job["status"], job["epoch"]) == ("succeeded", 1500)
        told = follow(client, job_id)
        assert [e["sequence"] for e in told] == list(range(1, len(told) + 1))
        assert [e["data"]["epoch"] for e in told if e["type"] == "epoch"] == list(range(1, 1501))


# The last to use the pair.
def test_a_replica_that_is_killed_loses_nothing(servers: list[LiveServer], pair: list[httpx.Client]):
    doomed, other = pair
    jobs = [submit(doomed, epochs=3000) for _ in range(4)]
    followed: list[dict[str, Any]] = []
    reader = threading.Thread(target=lambda: followed.extend(follow(doomed, jobs[0])))
    reader.start()
    wait_for(lambda: all(other.get(f"/jobs/{job_id}").json()["epoch"] > 50 for job_id in jobs), "all jobs to run")
    family = psutil.Process(servers[0].process.pid).children(recursive=True)
    assert len(family) >= 4, "a dispatcher, its forkserver and two attempts"
    for process in (*family, servers[0].process):  # the dispatcher first: nobody may hand a job back
        process.kill()
    _, alive = psutil.wait_procs(family, timeout=PATIENCE_S)
    assert alive == []
    reader.join(PATIENCE_S)
    done = [ended(other, job_id) for job_id in jobs]
    assert [job["status"] for job in done] == ["succeeded"] * 4
    assert len({digest(other, job) for job in done}) == 1, "interrupted or not, the weights are the same"
    histories = [follow(other, job_id) for job_id in jobs]
    reasons = [[e["data"]["reason"] for e in told if e["type"] == "restarted"] for told in histories]
    assert sorted(reasons) == [[], [], ["lost"], ["lost"]]
    for told in histories:
        assert [e["data"]["epoch"] for e in told if e["type"] == "epoch"] == list(range(1, 3001))
        assert [e["type"] for e in told if e["type"] in TERMINAL] == ["succeeded"]
    # The stream that broke is read on at the other replica: nothing twice, nothing left out.
    rest = follow(other, jobs[0], after=followed[-1]["sequence"])
    assert [e["sequence"] for e in followed + rest] == list(range(1, len(histories[0]) + 1))
