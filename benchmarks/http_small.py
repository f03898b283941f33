"""`POST /dropout/forward` with small JSON bodies over many connections, against a bare FastAPI route.

One server process on a loopback socket answers both. The bare route is an application of its own, without our
middleware: a Pydantic model validates the request, another one the answer, which is ours byte for byte. Its handler is
a coroutine that computes nothing. Bursts of the two kinds take turns over 64 connections that are kept open, each
bounded in requests and in time. Prints one line per figure: name, value, unit.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import uvicorn
import uvloop
from fastapi import FastAPI
from pydantic import BaseModel, Field

import machine
from dropout_service.app import create_app
from dropout_service.connections import Connection as ServiceConnection
from dropout_service.connections import ConnectionLimits
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

CONNECTIONS = 64
BURST_REQUESTS = 1000
BURST_TIMEOUT_S = 30.0
ROUNDS = 7


class BareRequest(BaseModel):
    x: list[list[float]]
    rate: float = Field(ge=0, le=1)
    seed: int | None = Field(default=None, ge=0, lt=2**64)
    offset: int = Field(default=0, ge=0, lt=2**64)
    scaling: Literal["inverted", "classic"] = "inverted"
    training: bool = True


class BareAnswer(BaseModel):
    y: list[list[float]]
    dtype: str
    shape: list[int]
    variant: str
    rate: float
    effective_rate: float
    scale: float
    seed: int
    offset: int
    algorithm: str


def serve(data_dir: str) -> None:
    """Run the application, and the bare one beside it, as `serve` does, on a free port that is printed."""
    app = create_app(Settings(data_dir=Path(data_dir), dispatcher=False))
    bare = FastAPI()
    facts: dict[str, Any] = {}

    @bare.put("/bare")
    async def keep(answer: dict[str, Any]) -> None:
        facts.update(answer)

    @bare.post("/bare")
    async def answer_bare(body: BareRequest) -> BareAnswer:  # noqa: ARG001 - validated, and that is all
        return BareAnswer(**facts)

    async def either(scope: Scope, receive: Receive, send: Send) -> None:
        await (bare if scope.get("path") == "/bare" else app)(scope, receive, send)

    limits = ConnectionLimits(connections=2 * CONNECTIONS, headers_s=15, body_rate=1024, answer_s=60)
    http: Any = partial(ServiceConnection, limits=limits)
    config = uvicorn.Config(either, port=0, loop="uvloop", http=http, ws="none", log_level="warning", access_log=False)
    server = uvicorn.Server(config)
    sockets = [config.bind_socket()]
    print(sockets[0].getsockname()[1], flush=True)
    server.run(sockets)


class Connection(asyncio.Protocol):
    """A connection that sends the same request again and again, as soon as it is answered."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.answered: asyncio.Future[bytes] | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or self.answered is None:
            return
        head = bytes(self.buffer[:end]).lower()
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(self.buffer) < end + 4 + length:
            return
        answer = bytes(self.buffer[end + 4 : end + 4 + length])
        self.buffer.clear()
        if not head.startswith(b"http/1.1 200"):
            self.answered.set_exception(RuntimeError(answer[:500].decode()))
        else:
            self.answered.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.answered is not None and not self.answered.done():
            self.answered.set_exception(exc or ConnectionResetError())

    async def post(self, request: bytes) -> bytes:
        self.answered = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return await self.answered


def request_bytes(method: str, path: str, body: bytes) -> bytes:
    lines = (
        f"{method} {path} HTTP/1.1",
        "Host: localhost",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


async def burst(connections: list[Connection], request: bytes) -> tuple[float, list[float]]:
    """Return requests a second, and the seconds of each."""
    latencies: list[float] = []
    left = BURST_REQUESTS

    async def drive(connection: Connection) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            begin = time.perf_counter()
            await connection.post(request)
            latencies.append(time.perf_counter() - begin)

    begin = time.perf_counter()
    async with asyncio.timeout(BURST_TIMEOUT_S):
        await asyncio.gather(*(drive(connection) for connection in connections))
    return len(latencies) / (time.perf_counter() - begin), latencies


def cpu_seconds(pid: int) -> float:
    """Seconds that the server has computed: the figure that other programs on the machine disturb least."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(port: int, pid: int) -> None:
    x = np.random.default_rng(0).standard_normal((32, 32))
    body = json.dumps({"x": x.tolist(), "rate": 0.5, "seed": 7}).encode()
    requests = {
        "forward": request_bytes("POST", "/dropout/forward", body),
        "bare": request_bytes("POST", "/bare", body),
    }
    loop = asyncio.get_running_loop()
    connections = [(await loop.create_connection(Connection, "127.0.0.1", port))[1] for _ in range(CONNECTIONS)]
    first = connections[0]
    answer = await first.post(requests["forward"])
    await first.post(request_bytes("PUT", "/bare", answer))
    assert await first.post(requests["bare"]) == answer

    rates: dict[str, list[float]] = {name: [] for name in requests}
    latencies: dict[str, list[float]] = {name: [] for name in requests}
    cpu_s = dict.fromkeys(requests, 0.0)
    for number in range(ROUNDS + 1):
        for name, request in requests.items():
            before = cpu_seconds(pid)
            rate, seconds = await burst(connections, request)
            if number:  # the first round warms caches
                rates[name].append(rate)
                latencies[name] += seconds
                cpu_s[name] += cpu_seconds(pid) - before
    for name in requests:
        percentiles = statistics.quantiles(latencies[name], n=100)
        print(f"http_small_{name}_throughput {statistics.median(rates[name]):.0f} requests/s")
        print(f"http_small_{name}_p50 {percentiles[49] * 1e3:.1f} ms")
        print(f"http_small_{name}_p99 {percentiles[98] * 1e3:.1f} ms")
        print(f"http_small_{name}_server_cpu {cpu_s[name] / len(latencies[name]) * 1e6:.0f} us/request")
    ratios = [forward / bare for forward, bare in zip(rates["forward"], rates["bare"], strict=True)]
    print(f"http_small_forward_over_bare_throughput {statistics.median(ratios):.2f} ratio")


def wait_ready(port: int) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        try:
            connection.request("GET", "/readyz")
            if connection.getresponse().status == 200:
                return
        except ConnectionRefusedError:
            pass
        finally:
            connection.close()
        time.sleep(0.1)
    raise RuntimeError("the server did not become ready")


def main() -> None:
    machine.describe(packages=("fastapi", "uvicorn"))
    with tempfile.TemporaryDirectory() as data_dir:
        server = subprocess.Popen([sys.executable, __file__, "serve", data_dir], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout is not None
            port = int(server.stdout.readline())
            wait_ready(port)
            uvloop.run(measure(port, server.pid))
        finally:
            server.terminate()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        main()
