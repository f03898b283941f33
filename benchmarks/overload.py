"""What others notice while forty clients ask for more predictions than the service can compute, and its memory.

    python benchmarks/overload.py [--clients 40] [--seconds 10]

A real server with its default settings. Each client asks for 10,000 samples of 20,000 rows of a network of two layers
of 1,024 units, which would take hours. Printed are the latency of `/readyz` and of a small dropout call meanwhile, the
memory of the process beside that before, the time until it computes no more once the clients have hung up, the time
that SIGTERM takes under the same load; and the memory that a hundred forwards of 64 MB at once take, with how many of
them were refused. One line per figure: name, value, unit.
"""

from __future__ import annotations

import argparse
import io
import signal
import socket
import statistics
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil

import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from large_model import add_large_model, endless_prediction
from live_server import LiveServer, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ENVIRONMENT = {
    "DROPOUT_SERVICE_DISPATCHER": "false",
    "DROPOUT_SERVICE_LOG_LEVEL": "error",
    "DROPOUT_SERVICE_MAX_PREDICTION_OPERATIONS": str(2**60),
}
PATIENCE_S = 120.0
BUSY_PERCENT, IDLE_PERCENT = 90, 10
FORWARDS, FORWARD_ELEMENTS = 100, 1 << 24


class Peak:
    """Largest resident memory of a process while the block runs, beside that at its beginning."""

    def __init__(self, process: psutil.Process) -> None:
        self.process = process
        self.before = self.most = process.memory_info().rss
        self._ended = Event()
        self._thread = Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(0.01):
            self.most = max(self.most, self.process.memory_info().rss)

    @property
    def grown_mb(self) -> float:
        return (self.most - self.before) / 1e6


@contextmanager
def asking(server: LiveServer, request: bytes, clients: int) -> Iterator[None]:
    address = urlsplit(server.url)
    with ExitStack() as stack:
        for _ in range(clients):
            connection = socket.create_connection((address.hostname, address.port), timeout=PATIENCE_S)
            stack.enter_context(connection).sendall(request)
        yield


def until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what}")


def latencies_ms(call: Callable[[], httpx.Response], seconds: float) -> list[float]:
    found: list[float] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begin = time.perf_counter()
        call().raise_for_status()
        found.append((time.perf_counter() - begin) * 1e3)
        time.sleep(0.02)
    return found


def measure_predictions(clients: int, seconds: float) -> None:
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "data", ENVIRONMENT) as server:
        process = psutil.Process(server.process.pid)
        request = endless_prediction(add_large_model(server.data_dir))
        small = {"x": [[1.0, 2.0]], "rate": 0.5, "seed": 7}
        with httpx.Client(base_url=server.url, timeout=PATIENCE_S) as client:
            calls = {
                "readyz": lambda: client.get("/readyz"),
                "small_forward": lambda: client.post("/dropout/forward", json=small),
            }
            for name, call in calls.items():
                print(f"overload_{name}_idle_p50 {statistics.median(latencies_ms(call, 1)):.1f} ms")
            with Peak(process) as peak, asking(server, request, clients):
                until(lambda: process.cpu_percent(0.2) > BUSY_PERCENT, "the computations")
                for name, call in calls.items():
                    found = latencies_ms(call, seconds)
                    print(f"overload_{name}_p50 {statistics.median(found):.1f} ms")
                    print(f"overload_{name}_worst {max(found):.1f} ms")
            print(f"overload_predictions_memory {peak.grown_mb:.0f} MB")
            begin = time.monotonic()
            until(lambda: process.cpu_percent(0.1) < IDLE_PERCENT, "the end of computing")
            print(f"overload_idle_after_hang_up {time.monotonic() - begin:.1f} s")
        with asking(server, request, clients):
            until(lambda: process.cpu_percent(0.2) > BUSY_PERCENT, "the computations")
            begin = time.monotonic()
            server.process.send_signal(signal.SIGTERM)
            server.process.wait(PATIENCE_S)
            print(f"overload_end_after_sigterm {time.monotonic() - begin:.1f} s")


def measure_forwards() -> None:
    file = io.BytesIO()
    np.save(file, np.ones(FORWARD_ELEMENTS, np.float32))
    body = file.getvalue()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder) / "data", ENVIRONMENT) as server:

        def forward(_: int) -> str:
            headers = {"Content-Type": "application/x-npy"}
            url = f"{server.url}/dropout/forward?rate=0.5&seed=7"
            try:
                return str(httpx.post(url, content=body, headers=headers, timeout=PATIENCE_S).status_code)
            except httpx.TransportError as error:
                return type(error).__name__

        with Peak(psutil.Process(server.process.pid)) as peak, ThreadPoolExecutor(FORWARDS) as clients:
            answers = Counter(clients.map(forward, range(FORWARDS)))
        print(f"overload_forwards_memory {peak.grown_mb:.0f} MB")
        for status, count in sorted(answers.items()):
            print(f"overload_forwards_{status} {count} requests")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement of latencies")
    given = parser.parse_args()
    machine.describe(packages=("fastapi", "uvicorn"))
    measure_predictions(given.clients, given.seconds)
    measure_forwards()


if __name__ == "__main__":
    main()
