"""More than the service can compute, by real clients who do not wait for it."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import waiting
from large_model import add_large_model, endless_prediction
from live_server import serve
from sample_arrays import npy

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from live_server import LiveServer

PATIENCE_S = 40.0
wait_for = partial(waiting.wait_for, patience_s=PATIENCE_S)
CLIENTS = 45
IDLE_PERCENT = 30
ENVIRONMENT = {
    "DROPOUT_SERVICE_DISPATCHER": "false",
    "DROPOUT_SERVICE_SHUTDOWN_TIMEOUT_S": "1",
    "DROPOUT_SERVICE_MAX_PREDICTION_OPERATIONS": str(2**60),  # so much that it never ends by itself
    "OPENBLAS_NUM_THREADS": "1",  # an idle one spins for a while
}


@contextmanager
def asking(server: LiveServer, request: bytes, clients: int) -> Iterator[list[socket.socket]]:
    """Send a request over many connections; whoever is left hangs up at the end of the block."""
    address = urlsplit(server.url)
    with ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S))
            for _ in range(clients)
        ]
        for connection in connections:
            connection.sendall(request)
        yield connections


def answer_of(connection: socket.socket) -> http.client.HTTPResponse:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer


def is_computing(server: LiveServer) -> bool:
    return psutil.Process(server.process.pid).cpu_percent(0.3) > IDLE_PERCENT


def test_others_are_served_while_it_computes_and_it_ends_when_nobody_waits(tmp_path: Path):
    with serve(tmp_path / "data", ENVIRONMENT) as server:
        request = endless_prediction(add_large_model(server.data_dir))
        with asking(server, request, CLIENTS):
            wait_for(lambda: is_computing(server), "the computations")
            job = {"task": "regression", "data": {"x": [[0], [1], [2], [3]], "y": [0, 1, 2, 3]}, "epochs": 1}
            with httpx.Client(base_url=server.url, timeout=10) as client:
                for _ in range(5):
                    begin = time.monotonic()
                    assert client.get("/readyz").status_code == 200
                    assert client.get("/jobs").status_code == 200
                    submitted = client.post("/jobs", json=job)
                    assert submitted.status_code == 202
                    assert client.post(f"/jobs/{submitted.json()['id']}/cancel").status_code == 202
                    assert time.monotonic() - begin < 5
        wait_for(lambda: not is_computing(server), "the end of computing for nobody")
        small = endless_prediction(request.split(b"/")[2].decode(), rows=1, samples=1)
        with asking(server, small, 1) as (connection,):
            assert answer_of(connection).status == 200, "its threads and places are free again"
        with asking(server, request, CLIENTS):
            wait_for(lambda: is_computing(server), "the computations")
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert server.process.wait(PATIENCE_S) == 0
            assert time.monotonic() - begin < 8


def test_whoever_finds_no_place_is_refused_before_its_body_is_read(tmp_path: Path):
    places = {"DROPOUT_SERVICE_COMPUTE_THREADS": "1", "DROPOUT_SERVICE_COMPUTE_QUEUE": "2"}
    with serve(tmp_path / "data", {**ENVIRONMENT, **places}) as server:
        request = endless_prediction(add_large_model(server.data_dir))
        with asking(server, request, 3):
            wait_for(lambda: is_computing(server), "the computations")
            head, _, _ = request.partition(b"\r\n\r\n")

            def refused() -> dict[str, str] | None:
                with asking(server, head + b"\r\n\r\n", 1) as (connection,):
                    connection.settimeout(1)
                    try:
                        answer = answer_of(connection)
                    except TimeoutError:  # it got the last place
                        return None
                    assert answer.status == 503
                    assert answer.getheader("Retry-After") == "2"
                    return json.loads(answer.read())

            problem = wait_for(refused, "a full queue")
            assert problem["type"] == "urn:dropout-service:problem:overloaded"
            assert "DROPOUT_SERVICE_COMPUTE_QUEUE" in problem["detail"]
            assert httpx.get(f"{server.url}/readyz").status_code == 200
            forward = httpx.post(f"{server.url}/dropout/forward", json={"x": [1.0, 2.0], "rate": 0.5, "seed": 7})
            assert forward.status_code == 200, "what is small takes no place"


def test_memory_of_all_bodies_together_is_bounded_and_given_back(tmp_path: Path):
    body = npy(np.ones(1 << 20, np.float32))  # 4 MiB, of which three fit with their answers
    settings = {"DROPOUT_SERVICE_MAX_BYTES_IN_FLIGHT": str(7 * len(body))}
    with serve(tmp_path / "data", {**ENVIRONMENT, **settings}) as server:
        url = f"{server.url}/dropout/forward?rate=0.5&seed=7"
        headers = {"Content-Type": "application/x-npy"}
        request = (
            b"POST /dropout/forward?rate=0.5 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
            b"Content-Length: %d\r\n\r\n" % len(body)
        )

        def forward(_: int = 0) -> httpx.Response:
            return httpx.post(url, content=body, headers=headers, timeout=PATIENCE_S)

        assert forward().status_code == 200
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        with asking(server, request + body[:1000], 3):  # bodies that go on later
            refused = wait_for(lambda: (answer := forward()).status_code == 503 and answer, "no room")
            assert refused.headers["Retry-After"] == "2"
            assert "DROPOUT_SERVICE_MAX_BYTES_IN_FLIGHT" in refused.json()["detail"]
            assert httpx.post(f"{server.url}/dropout/forward", json={"x": [1.0], "rate": 0.5}).status_code == 200
        wait_for(lambda: forward().status_code == 200, "room again, when these have gone")
        with asking(server, request + body, 3):  # answers that nobody reads
            wait_for(lambda: forward().status_code == 503, "no room")
        wait_for(lambda: forward().status_code == 200, "room again, when these have gone")
        with ThreadPoolExecutor(30) as clients:
            answers = list(clients.map(forward, range(60)))
        assert {answer.status_code for answer in answers} == {200, 503}
        assert process.memory_info().rss - before < 20 * len(body)
        too_large = httpx.post(url, content=body * 4, headers=headers, timeout=PATIENCE_S)
        assert too_large.status_code == 413
        assert "DROPOUT_SERVICE_MAX_BYTES_IN_FLIGHT" in too_large.json()["detail"]
