"""The real command on a real socket: start, load, limits, logs and a clean end."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
from live_server import free_port, serve
from sample_arrays import npy

from dropout_service.kernels.dropout import standard

if TYPE_CHECKING:
    from pathlib import Path

    from live_server import LiveServer

NPY = {"Content-Type": "application/x-npy"}


def test_a_large_array_is_answered_with_little_memory(tmp_path: Path):
    x = np.random.default_rng(0).standard_normal((1 << 24,), dtype=np.float32)
    body = npy(x)
    with serve(tmp_path / "data", {"DROPOUT_SERVICE_DISPATCHER": "false"}) as server:
        process = psutil.Process(server.process.pid)
        before = process.memory_info().rss
        peak = [before]
        done = threading.Event()

        def watch() -> None:
            while not done.wait(0.002):
                peak[0] = max(peak[0], process.memory_info().rss)

        watcher = threading.Thread(target=watch)
        watcher.start()
        answer = httpx.post(f"{server.url}/dropout/forward?rate=0.3&seed=7", content=body, headers=NPY, timeout=60)
        done.set()
        watcher.join()
        assert np.array_equal(np.load(io.BytesIO(answer.content)), standard.forward(x, 0.3, seed=7))
        assert peak[0] - before < 2 * len(body)


def test_a_body_above_the_limit_is_refused_before_it_is_sent(tmp_path: Path):
    limits = {"DROPOUT_SERVICE_MAX_BODY_BYTES": "2000", "DROPOUT_SERVICE_DISPATCHER": "false"}
    with serve(tmp_path / "data", limits) as server:
        address = urlsplit(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(
                b"POST /dropout/forward?rate=0.5 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
                b"Content-Length: 10000000000\r\n\r\n"
            )
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            problem = json.loads(answer.read())
        assert answer.status == 413
        assert answer.getheader("content-type") == "application/problem+json"
        assert "2,000" in problem["detail"]
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            chunk = b"5dc\r\n" + b"x" * 1500 + b"\r\n"
            connection.sendall(
                b"POST /dropout/forward?rate=0.5 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n" + chunk * 2
            )
            chunked = http.client.HTTPResponse(connection)
            chunked.begin()
            assert chunked.status == 413
            assert chunked.getheader("content-type") == "application/problem+json"
            assert "goes on after 2,000 bytes" in json.loads(chunked.read())["detail"]
            assert connection.recv(1) == b"", "the server ends the connection, and reads no more of the body"
        assert httpx.get(f"{server.url}/livez").status_code == 200


def test_a_client_that_goes_away_is_no_error(live_server: LiveServer):
    address = urlsplit(live_server.url)
    with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
        connection.sendall(
            b"POST /dropout/forward?rate=0.5 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-npy\r\n"
            b"X-Request-ID: gone-away\r\nContent-Length: 100000\r\n\r\nshort"
        )
    told = "request gone-away: the client went away"
    deadline = time.monotonic() + 10
    while told not in (log := live_server.log.read_text(encoding="utf-8")) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert told in log
    assert "gone-away failed" not in log
    assert "Traceback" not in log


def test_requests_at_the_same_time_on_one_server(live_server: LiveServer):
    def one(seed: int, failures: list[int]) -> None:
        with httpx.Client(base_url=live_server.url, timeout=60) as client:
            for size in (10, 1000, 200_000):
                x = np.full(size, seed + 1, np.float64)
                answer = client.post(f"/dropout/forward?rate=0.5&seed={seed}", content=npy(x), headers=NPY)
                if not np.array_equal(np.load(io.BytesIO(answer.content)), standard.forward(x, 0.5, seed=seed)):
                    failures.append(seed)

    failures: list[int] = []
    threads = [threading.Thread(target=one, args=(seed, failures)) for seed in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_sigint_ends_the_service(tmp_path: Path):
    with serve(tmp_path / "data", {"DROPOUT_SERVICE_DISPATCHER": "false"}) as server:
        server.process.send_signal(signal.SIGINT)
        assert server.process.wait(20) == 0


def test_sigterm_ends_the_service_its_streams_and_its_jobs(tmp_path: Path):
    with serve(tmp_path / "data") as server:
        children = psutil.Process(server.process.pid).children(recursive=True)
        assert children, "the dispatcher runs beside the server"
        job = httpx.post(
            f"{server.url}/jobs",
            json={
                "task": "regression",
                "data": {"x": [[0.0], [1.0], [2.0], [3.0]], "y": [0, 1, 2, 3]},
                "epochs": 1_000_000,
                "validation_fraction": 0,
            },
            timeout=30,
        ).json()
        url = f"{server.url}/jobs/{job['id']}/events"
        with httpx.stream("GET", url, timeout=30) as events:
            lines = events.iter_lines()
            assert "event: epoch" in lines
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            assert "event: succeeded" not in lines  # read to its end: the stream must not hold up the server
        assert server.process.wait(20) == 0
        assert time.monotonic() - begin < 8
        gone, alive = psutil.wait_procs(children, timeout=10)
        assert alive == [], gone
        log = server.log.read_text(encoding="utf-8")
        assert "Traceback" not in log


def test_a_port_in_use_is_told_and_fails(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        command = [sys.executable, "-m", "dropout_service", "serve", "--port", str(taken.getsockname()[1])]
        done = subprocess.run(
            [*command, "--data-dir", str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
        )
    assert done.returncode != 0
    assert "address already in use" in done.stderr


def test_the_commands_beside_serve(tmp_path: Path, live_server: LiveServer):
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "dropout_service", *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    port = str(urlsplit(live_server.url).port)
    assert run("health", "--port", port).returncode == 0
    assert run("health", "--port", str(free_port())).returncode == 1
    assert run("migrate", "--data-dir", str(tmp_path / "data")).returncode == 0
    assert (tmp_path / "data" / "dropout.sqlite3").exists()
    assert json.loads(run("openapi").stdout)["info"]["title"] == "Dropout service"
    wrong = run("serve", DROPOUT_SERVICE_PORT="http")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("DROPOUT_SERVICE_PORT: ")
    assert wrong.stderr.count("\n") == 1
    (tmp_path / "file").touch()
    for command in ("serve", "dispatch", "migrate"):
        wrong = run(command, "--data-dir", str(tmp_path / "file"))
        assert wrong.returncode == 2
        assert wrong.stderr.startswith("DROPOUT_SERVICE_DATA_DIR: ")
        assert wrong.stderr.count("\n") == 1
