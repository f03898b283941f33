"""Event streams over real sockets: cut, resumed on the next server, and not read at all."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
import waiting
from live_server import serve

if TYPE_CHECKING:
    from pathlib import Path

    from live_server import LiveServer

PATIENCE_S = 60.0
wait_for = partial(waiting.wait_for, patience_s=PATIENCE_S)
ENDED = 10**9
BODY: dict[str, Any] = {
    "task": "regression",
    "data": {"x": [[0.0], [1.0], [2.0], [3.0]], "y": [0, 1, 2, 3]},
    "validation_fraction": 0,
}


def submit(url: str, **fields: Any) -> str:
    return httpx.post(f"{url}/jobs", json={**BODY, **fields}, timeout=60).json()["id"]


def read_some(url: str, job: str, after: int, limit: int) -> list[int]:
    """Read up to ``limit`` events and cut the connection; fewer when the server ends the stream."""
    ids: list[int] = []
    headers = {"Last-Event-ID": str(after)} if after else {}
    try:
        with httpx.stream("GET", f"{url}/jobs/{job}/events", headers=headers, timeout=PATIENCE_S) as stream:
            assert stream.status_code in {200, 204}
            for line in stream.iter_lines():
                if line.startswith("id: "):
                    ids.append(int(line.removeprefix("id: ")))
                    if len(ids) == limit:
                        break
    except httpx.TransportError:  # the server was killed
        pass
    return ids


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_event_is_missed_or_repeated_over_many_cuts_and_restarts(tmp_path: Path):
    rng = np.random.default_rng(7)
    epochs = 4_000
    seen: list[int] = []
    job = ""
    for life in ("stopped", "killed", "stopped", "last"):
        with serve(tmp_path / "data", {"DROPOUT_SERVICE_CHECKPOINT_S": "0.5"}) as server:
            job = job or submit(server.url, epochs=epochs)
            for _ in range(12):
                seen += read_some(server.url, job, seen[-1] if seen else 0, int(rng.integers(1, 60)))
            if life != "last":
                seen += read_until_the_server_goes(server, job, seen[-1], by_force=life == "killed")
                continue
            while part := read_some(server.url, job, seen[-1], 10_000):
                seen += part
            page = f"{server.url}/jobs/{job}/events?after={seen[-1] - 1}"
            (last,) = httpx.get(page, headers={"Accept": "application/json"}).json()["items"]
            assert last["type"] == "succeeded"
            metrics = httpx.get(f"{server.url}/jobs/{job}/metrics?limit=10000").json()["items"]
            assert [entry["epoch"] for entry in metrics] == list(range(1, epochs + 1))
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) >= epochs + 3


def read_until_the_server_goes(server: LiveServer, job: str, after: int, *, by_force: bool) -> list[int]:
    """Read while the server is stopped or killed, in the middle of the stream as long as the job runs."""
    known = job_epoch(server.url, job)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read_some, server.url, job, after, 10_000)
        wait_for(lambda: job_epoch(server.url, job) > known or known == ENDED, "the job to run on")
        server.process.send_signal(signal.SIGKILL if by_force else signal.SIGTERM)
        server.process.wait(PATIENCE_S)
        return reading.result(PATIENCE_S)


def job_epoch(url: str, job: str) -> int:
    found = httpx.get(f"{url}/jobs/{job}", timeout=PATIENCE_S).json()
    return ENDED if found["status"] == "succeeded" else found["epoch"]


def test_a_reader_that_does_not_read_is_cut_off_and_harms_nobody(tmp_path: Path):
    epochs = 5_000
    with serve(tmp_path / "data", {"DROPOUT_SERVICE_SEND_TIMEOUT_S": "3"}) as server:
        job = submit(server.url, epochs=epochs)
        wait_for(lambda: job_epoch(server.url, job) > epochs, "the end of the job")
        process = psutil.Process(server.process.pid)
        address = urlsplit(server.url)
        stalled: list[socket.socket] = []
        before = process.memory_info().rss
        for _ in range(20):
            connection = socket.socket()
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            connection.connect((address.hostname, address.port))
            connection.sendall(f"GET /jobs/{job}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            stalled.append(connection)
        ports = {connection.getsockname()[1] for connection in stalled}

        def held() -> set[int]:
            return {one.raddr.port for one in process.net_connections("tcp") if one.raddr} & ports

        wait_for(lambda: held() == ports, "the server to accept them")
        for _ in range(3):
            assert len(read_some(server.url, job, 0, 10_000)) == epochs + 3, "others read at full speed meanwhile"
        assert process.memory_info().rss - before < 100_000_000
        wait_for(lambda: not held(), "the server to cut them off")
        assert httpx.get(f"{server.url}/readyz").status_code == 200
        for connection in stalled:
            connection.close()
        assert "Traceback" not in server.log.read_text(encoding="utf-8")
