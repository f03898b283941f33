"""Clients who are too slow, and too many of them, on real sockets of a real server."""

from __future__ import annotations

import http.client
import json
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
from live_server import serve
from sample_arrays import npy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from live_server import LiveServer

PATIENCE_S = 40.0
HEADERS_S, IDLE_S, SEND_S, RATE, CONNECTIONS = 2, 3, 2, 1_000_000, 20
SETTINGS = {
    "DROPOUT_SERVICE_DISPATCHER": "false",
    "DROPOUT_SERVICE_HEADERS_TIMEOUT_S": str(HEADERS_S),
    "DROPOUT_SERVICE_IDLE_TIMEOUT_S": str(IDLE_S),
    "DROPOUT_SERVICE_SEND_TIMEOUT_S": str(SEND_S),
    "DROPOUT_SERVICE_MIN_BODY_RATE": str(RATE),
    "DROPOUT_SERVICE_MAX_CONNECTIONS": str(CONNECTIONS),
}
HEAD = b"POST /dropout/forward HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
GET = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    with serve(tmp_path_factory.mktemp("connections") / "data", SETTINGS) as running:
        yield running


@pytest.fixture
def connect(server: LiveServer) -> Iterator[Callable[..., socket.socket]]:
    address = urlsplit(server.url)
    with ExitStack() as stack:

        def connect_to(*, receive_buffer: int | None = None) -> socket.socket:
            connection = stack.enter_context(socket.socket())
            connection.settimeout(PATIENCE_S)
            if receive_buffer is not None:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            connection.connect((address.hostname, address.port))
            return connection

        yield connect_to


def answer_of(connection: socket.socket) -> tuple[int, dict[str, Any]]:
    answer = http.client.HTTPResponse(connection)
    answer.begin()
    return answer.status, json.loads(answer.read())


def trickle(connection: socket.socket, byte: bytes, server: LiveServer) -> float:
    """Send a byte now and then until there is an answer; others are served meanwhile. Return how long that took."""
    begin = time.monotonic()
    connection.settimeout(0.2)
    while time.monotonic() - begin < PATIENCE_S:
        connection.sendall(byte)
        assert httpx.get(f"{server.url}/livez", timeout=5).status_code == 200
        try:
            connection.recv(1, socket.MSG_PEEK)
        except TimeoutError:
            continue
        connection.settimeout(PATIENCE_S)
        return time.monotonic() - begin
    pytest.fail("the server let a slow client go on")


@pytest.mark.parametrize(
    ("before", "begin", "byte"),
    [(b"", HEAD + b"X-Slow: ", b"x"), (b"", b"", b"\r\n"), (GET, b"GET /", b"x")],
    ids=["a header", "empty lines", "a second request"],
)
def test_headers_have_to_come_in_time(
    server: LiveServer, connect: Callable[[], socket.socket], before: bytes, begin: bytes, byte: bytes
):
    connection = connect()
    connection.sendall(before + begin)
    if before:
        assert answer_of(connection)[0] == 200
    assert HEADERS_S - 0.5 < trickle(connection, byte, server) < HEADERS_S + 10
    status, problem = answer_of(connection)
    assert status == 408
    assert "DROPOUT_SERVICE_HEADERS_TIMEOUT_S" in problem["detail"]
    assert connection.recv(1) == b""


def test_a_byte_too_many_does_not_end_the_answer_under_way(server: LiveServer, connect: Callable[[], socket.socket]):
    job = {"task": "regression", "data": {"x": [[0], [1], [2], [3]], "y": [0, 1, 2, 3]}}
    job_id = httpx.post(f"{server.url}/jobs", json=job).json()["id"]  # nobody runs it
    connection = connect()
    connection.sendall(
        b"GET /jobs/%s?wait=%d HTTP/1.1\r\nHost: localhost\r\n\r\n\r\n" % (job_id.encode(), HEADERS_S + 2)
    )
    connection.sendall(b"\r\n")
    assert answer_of(connection)[0] == 200
    connection.sendall(GET)
    assert answer_of(connection)[0] == 200


def test_a_body_has_to_come_at_a_rate(server: LiveServer, connect: Callable[[], socket.socket]):
    declared, chunked = connect(), connect()
    declared.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
    chunked.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    with ThreadPoolExecutor() as clients:
        waited = list(clients.map(trickle, (declared, chunked), (b"x", b"1\r\nx\r\n"), (server, server)))
    assert 9 < min(waited) <= max(waited) < 25
    for connection in (declared, chunked):
        status, problem = answer_of(connection)
        assert status == 408
        assert "DROPOUT_SERVICE_MIN_BODY_RATE" in problem["detail"]
        assert connection.recv(1) == b""


def test_an_answer_has_to_be_read_at_a_rate(server: LiveServer, connect: Callable[..., socket.socket]):
    body = npy(np.ones(1 << 22, np.float64))
    connection = connect(receive_buffer=1 << 16)  # so that the little that is read makes room for more
    connection.sendall(
        b"POST /dropout/forward?rate=0.5 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
        b"Content-Length: %d\r\n\r\n" % len(body) + body
    )
    process, port = psutil.Process(server.process.pid), connection.getsockname()[1]

    def is_open() -> bool:
        return any(one.raddr and one.raddr.port == port for one in process.net_connections("tcp"))

    assert is_open()
    begin = time.monotonic()
    while is_open():
        assert time.monotonic() - begin < PATIENCE_S
        assert connection.recv(4096), "it goes on to read, in small pieces"
        assert httpx.get(f"{server.url}/livez", timeout=5).status_code == 200
    assert time.monotonic() - begin > SEND_S - 0.5


def test_headers_are_bounded(connect: Callable[[], socket.socket]):
    connection = connect()
    connection.sendall(HEAD)
    with ExitStack() as stack:
        stack.callback(connection.close)
        for _ in range(9):
            connection.sendall(b"X-Long: " + b"x" * 8192 + b"\r\n")
        status, problem = answer_of(connection)
        assert status == 431
        assert problem["type"] == "urn:dropout-service:problem:headers-too-large"


def test_a_connection_without_a_request_is_closed(connect: Callable[[], socket.socket]):
    silent, used = connect(), connect()
    begin = time.monotonic()
    used.sendall(GET)
    assert answer_of(used)[0] == 200
    assert silent.recv(1) == b"", "without an answer that nobody asked for"
    assert time.monotonic() - begin < HEADERS_S + 10
    assert used.recv(1) == b""
    assert IDLE_S - 0.5 < time.monotonic() - begin < IDLE_S + 10


def test_connections_are_bounded_and_idle_ones_make_room(server: LiveServer, connect: Callable[[], socket.socket]):
    idle = [connect() for _ in range(CONNECTIONS)]
    for connection in idle:
        connection.sendall(GET)
        assert answer_of(connection)[0] == 200
    assert httpx.get(f"{server.url}/livez").status_code == 200, "an idle one makes room"
    assert idle[0].recv(1) == b"", "the one that waited the longest"
    for connection in idle:
        connection.close()
    busy = [connect() for _ in range(CONNECTIONS)]
    for connection in busy:
        connection.sendall(b"GET /livez")
    status, problem = answer_of(connect())
    assert status == 503
    assert problem["type"] == "urn:dropout-service:problem:overloaded"
    assert "DROPOUT_SERVICE_MAX_CONNECTIONS" in problem["detail"]
    busy[0].sendall(b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    assert answer_of(busy[0])[0] == 200, "who is connected is served"
    deadline = time.monotonic() + PATIENCE_S
    for connection in busy[1:]:
        assert answer_of(connection)[0] == 408
    assert time.monotonic() < deadline
    assert httpx.get(f"{server.url}/livez").status_code == 200
