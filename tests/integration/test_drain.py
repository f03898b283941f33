"""The end of the service in good order, by real signals to real processes."""

from __future__ import annotations

import http.client
import io
import json
import signal
import socket
import time
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
import waiting
from live_server import serve

from dropout_service.kernels.dropout import standard

if TYPE_CHECKING:
    from pathlib import Path

    from live_server import LiveServer

PATIENCE_S = 40.0
wait_for = partial(waiting.wait_for, patience_s=PATIENCE_S)
LONG: dict[str, Any] = {
    "task": "regression",
    "data": {"x": [[0.0], [1.0], [2.0], [3.0]], "y": [0, 1, 2, 3]},
    "epochs": 1_000_000,
    "validation_fraction": 0,
}


def running_job(server: LiveServer) -> str:
    job = httpx.post(f"{server.url}/jobs", json=LONG, timeout=30).json()["id"]
    wait_for(lambda: httpx.get(f"{server.url}/jobs/{job}").json()["epoch"], "the first epoch")
    return job


def attempt_of(server: LiveServer) -> psutil.Process:
    (dispatcher,) = psutil.Process(server.process.pid).children()
    (forkserver,) = dispatcher.children()
    (attempt,) = forkserver.children()
    return attempt


def half_an_upload(server: LiveServer, body: bytes) -> socket.socket:
    """Open a request that the server has begun to read, and whose second half is still to come."""
    address = urlsplit(server.url)
    connection = socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S)
    connection.sendall(
        b"POST /dropout/forward?rate=0.5&seed=7 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
        b"Expect: 100-continue\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    assert connection.recv(1000).startswith(b"HTTP/1.1 100"), "the application reads the body"
    connection.sendall(body[: len(body) // 2])
    return connection


def test_a_load_balancer_learns_of_the_end_before_a_request_is_refused(tmp_path: Path):
    with serve(tmp_path / "data", {"DROPOUT_SERVICE_DRAIN_S": "3"}) as server:
        job = running_job(server)
        server.process.send_signal(signal.SIGTERM)
        begin = time.monotonic()
        wait_for(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, "/readyz to tell")
        told = httpx.get(f"{server.url}/readyz").json()
        assert (told["status"], told["checks"]["serving"]) == ("not ready", "failed: the service is stopping")
        assert httpx.get(f"{server.url}/livez").status_code == 200
        assert httpx.get(f"{server.url}/jobs/{job}").json()["status"] == "running"
        assert httpx.post(f"{server.url}/jobs", json=LONG, timeout=30).status_code == 202, "nobody is refused meanwhile"
        assert server.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - begin >= 2.9
    with serve(tmp_path / "data") as server:
        wait_for(lambda: httpx.get(f"{server.url}/jobs/{job}").json()["attempt"] == 2, "the next attempt")
        first, second = httpx.get(f"{server.url}/jobs/{job}").json()["attempts"]
        assert first["reason"] == "shutdown"
        wait_for(
            lambda: httpx.get(f"{server.url}/jobs/{job}").json()["attempts"][-1]["step"],
            "the checkpoint it goes on from",
        )
        assert second["number"] == 2


def test_an_open_request_is_finished(tmp_path: Path):
    x = np.arange(1 << 16, dtype=np.float64)
    file = io.BytesIO()
    np.save(file, x)
    body = file.getvalue()
    environment = {"DROPOUT_SERVICE_SHUTDOWN_TIMEOUT_S": "30", "DROPOUT_SERVICE_DISPATCHER": "false"}
    with serve(tmp_path / "data", environment) as server, half_an_upload(server, body) as connection:
        server.process.send_signal(signal.SIGTERM)
        address = urlsplit(server.url)

        def refused() -> bool:
            with socket.socket() as probe:
                return probe.connect_ex((address.hostname, address.port)) != 0

        wait_for(refused, "the end of listening")
        assert server.process.poll() is None
        connection.sendall(body[len(body) // 2 :])
        answer = http.client.HTTPResponse(connection)
        answer.begin()
        assert answer.status == 200
        assert np.array_equal(np.load(io.BytesIO(answer.read())), standard.forward(x, 0.5, seed=7))
        assert server.process.wait(PATIENCE_S) == 0


def test_a_request_that_does_not_end_is_cut_when_the_time_is_over(tmp_path: Path):
    environment = {"DROPOUT_SERVICE_SHUTDOWN_TIMEOUT_S": "1"}
    with serve(tmp_path / "data", environment) as server, half_an_upload(server, b"x" * 1000):
        running_job(server)
        attempt = attempt_of(server)
        attempt.suspend()  # it cannot write its checkpoint, and gets no longer than the request
        begin = time.monotonic()
        server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(PATIENCE_S) == 0
        assert 0.9 < time.monotonic() - begin < 10
        assert not attempt.is_running()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_the_service_at_once(tmp_path: Path, second: signal.Signals):
    environment = {"DROPOUT_SERVICE_SHUTDOWN_TIMEOUT_S": "600", "DROPOUT_SERVICE_DRAIN_S": "600"}
    with serve(tmp_path / "data", environment) as server, half_an_upload(server, b"x" * 1000):
        job = running_job(server)
        attempt = attempt_of(server)
        attempt.suspend()
        server.process.send_signal(signal.SIGTERM)
        wait_for(lambda: httpx.get(f"{server.url}/readyz").status_code == 503, "/readyz to tell")
        begin = time.monotonic()
        server.process.send_signal(second)
        assert server.process.wait(PATIENCE_S) == 0
        assert time.monotonic() - begin < 20
        assert not attempt.is_running()
        assert "stopping at once" in server.log.read_text(encoding="utf-8")
    with serve(tmp_path / "data") as server:
        wait_for(lambda: httpx.get(f"{server.url}/jobs/{job}").json()["attempt"] == 2, "the next attempt")
        first, *_ = httpx.get(f"{server.url}/jobs/{job}").json()["attempts"]
        assert first["reason"] == "shutdown", json.dumps(first)
