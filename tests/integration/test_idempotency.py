"""A request that is sent twice creates one job: under concurrency, across restarts, and when a process is killed."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
from live_server import serve
from sqlalchemy import select, update

from dropout_service.database.engine import open_database, reading, writing
from dropout_service.database.idempotency import IN_FLIGHT_S, KEPT_S, idempotency_keys

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Engine

ALONE = {"DROPOUT_SERVICE_DISPATCHER": "false"}
BODY: dict[str, Any] = {
    "task": "regression",
    "data": {"x": [[0.0], [1.0], [2.0], [3.0]], "y": [0, 1, 2, 3]},
    "validation_fraction": 0,
}


def post(url: str, key: str, **fields: Any) -> httpx.Response:
    return httpx.post(f"{url}/jobs", json={**BODY, **fields}, headers={"Idempotency-Key": key}, timeout=60)


@contextmanager
def database_of(data_dir: Path) -> Iterator[Engine]:
    engine = open_database(f"sqlite:///{data_dir}/dropout.sqlite3")
    yield engine
    engine.dispose()


def let_pass(data_dir: Path, seconds: float) -> None:
    """Let the keys be that much older."""
    with database_of(data_dir) as engine, writing(engine) as connection:
        connection.execute(update(idempotency_keys).values(expires_at=idempotency_keys.c.expires_at - seconds))


def names(url: str) -> list[str]:
    return [job["name"] for job in httpx.get(f"{url}/jobs?limit=500", timeout=30).json()["items"]]


def test_two_processes_and_many_threads_create_one_job_for_each_key(tmp_path: Path):
    folder = tmp_path / "data"
    other = tmp_path / "other"
    with serve(folder, ALONE) as first, serve(other, {**ALONE, **shared(folder)}) as second:
        urls = [first.url, second.url]
        for round_ in range(4):
            key = f"round-{round_}"
            barrier = threading.Barrier(8)

            def send(number: int, key: str = key, barrier: threading.Barrier = barrier) -> httpx.Response:
                barrier.wait()
                return post(urls[number % 2], key, name=key)

            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(send, range(8)))
            assert {answer.status_code for answer in answers} <= {202, 409}
            created = [answer for answer in answers if answer.status_code == 202]
            assert len({answer.json()["id"] for answer in created}) == 1
            assert sum("idempotency-replayed" not in answer.headers for answer in created) == 1
            for answer in answers:
                if answer.status_code == 409:
                    assert answer.json()["type"].endswith("request-in-flight")
                    assert int(answer.headers["retry-after"]) >= 1
            for url in urls:
                again = post(url, key, name=key)
                assert (again.status_code, again.content) == (202, created[0].content)
                assert again.headers["idempotency-replayed"] == "true"
                assert post(url, key, name="another").status_code == 422
        assert sorted(names(first.url)) == [f"round-{number}" for number in range(4)]


def shared(folder: Path) -> dict[str, str]:
    return {
        "DROPOUT_SERVICE_DATABASE_URL": f"sqlite:///{folder}/dropout.sqlite3",
        "DROPOUT_SERVICE_BLOB_URL": (folder / "blobs").as_uri(),
    }


def test_an_answer_is_repeated_after_a_restart_and_after_kill_9_and_for_a_day(tmp_path: Path):
    folder = tmp_path / "data"
    with serve(folder, ALONE) as server:
        first = post(server.url, "k", name="once")
        assert first.status_code == 202
    for _ in range(2):
        with serve(folder, ALONE) as server:
            again = post(server.url, "k", name="once")
            assert (again.status_code, again.content) == (202, first.content)
            assert again.headers["location"] == first.headers["location"]
            server.process.kill()
            server.process.wait()
    with serve(folder, ALONE) as server:
        let_pass(folder, KEPT_S - 600)
        assert post(server.url, "k", name="once").content == first.content
        let_pass(folder, 601)
        assert post(server.url, "k", name="once").json()["id"] != first.json()["id"]
        assert names(server.url) == ["once", "once"]


def test_a_request_whose_process_was_killed_can_be_repeated(tmp_path: Path):
    folder = tmp_path / "data"
    rows = 150_000
    data = {"x": [[float(i % 97), float(i % 31)] for i in range(rows)], "y": [float(i % 7) for i in range(rows)]}
    killed = ""
    for attempt in range(5):
        key = f"k{attempt}"
        with serve(folder, ALONE) as server, database_of(folder) as engine, ThreadPoolExecutor(1) as pool:
            sending = pool.submit(post, server.url, key, name=key, data=data)
            while not sending.done() and not in_flight(engine, key):
                time.sleep(0.001)
            server.process.kill()
            server.process.wait()
            assert sending.exception(30) is None or isinstance(sending.exception(), httpx.TransportError)
            if in_flight(engine, key):
                killed = key
                break
    assert killed, "no process was killed in the middle of a request"
    with serve(folder, ALONE) as server:
        assert killed not in names(server.url)
        answer = post(server.url, killed, name=killed, data=data)
        assert answer.status_code in {202, 409}, "409 until the key of the dead is free"
        let_pass(folder, IN_FLIGHT_S)
        answer = post(server.url, killed, name=killed, data=data)
        assert answer.status_code == 202
        assert post(server.url, killed, name=killed, data=data).content == answer.content
        assert names(server.url).count(killed) == 1


def in_flight(engine: Engine, key: str) -> bool:
    waiting = select(idempotency_keys.c.key).where(idempotency_keys.c.key == key, idempotency_keys.c.body.is_(None))
    with reading(engine) as connection:
        return connection.execute(waiting).first() is not None
