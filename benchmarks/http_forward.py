"""`POST /dropout/forward` with a large npy body, against an endpoint of the same server that echoes the body.

The server runs in a process of its own, on a loopback socket, and is the application that `serve` runs, with one
route added: it reads the whole body and answers it. Requests of the two kinds take turns over one connection each.
Prints one line per figure: name, value, unit.
"""

from __future__ import annotations

import http.client
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import uvicorn
from starlette.requests import Request  # noqa: TC002 - FastAPI reads the annotation
from starlette.responses import Response

import machine
from dropout_service.app import create_app
from dropout_service.kernels.variants import VARIANTS
from dropout_service.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
    os.environ.pop(variable, None)

SHAPES = {2: (4096, 4096), 3: (64, 64, 4096), 4: (64, 16, 128, 128), 5: (64, 16, 16, 32, 32)}
"""Of 64 MB of float32, by the number of axes that a variant wants."""

NPY = {"Content-Type": "application/x-npy"}
JSON = {"Content-Type": "application/json"}


def serve(data_dir: str) -> None:
    """Run the application with the echo route, as `serve` does, on a free port that is printed."""
    # 10,000 x 784 numbers as JSON are above what a service takes unless told otherwise.
    settings = Settings(data_dir=Path(data_dir), dispatcher=False, max_json_bytes=1 << 30, max_json_values=1 << 24)
    app = create_app(settings)

    async def echo(request: Request) -> Response:
        return Response(await request.body(), media_type="application/x-npy")

    app.add_api_route("/echo", echo, methods=["POST"], response_model=None)

    @app.post("/bare")
    def bare(body: dict[str, object]) -> dict[str, object]:
        return body

    config = uvicorn.Config(app, port=0, loop="uvloop", http="httptools", ws="none", log_level="warning")
    server = uvicorn.Server(config)
    sockets = [config.bind_socket()]
    print(sockets[0].getsockname()[1], flush=True)
    server.run(sockets)


class Client:
    """One connection that is kept open."""

    def __init__(self, port: int) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port)

    def post(self, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        self.connection.request("POST", path, body, headers)
        answer = self.connection.getresponse()
        content = answer.read()
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status} {content[:500]!r}")
        return content

    def wait_ready(self) -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                self.connection.request("GET", "/readyz")
                answer = self.connection.getresponse()
                answer.read()
                if answer.status == 200:
                    return
            except ConnectionRefusedError:
                self.connection.close()
            time.sleep(0.1)
        raise RuntimeError("the server did not become ready")


def interleaved(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round, taken in turns."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            begin = time.perf_counter()
            call()
            if number:  # the first round warms caches and connections
                times[name].append(time.perf_counter() - begin)
    return times


def ratio(times: list[float], others: list[float]) -> float:
    """Median of the rounds' ratios."""
    return statistics.median(one / other for one, other in zip(times, others, strict=True))


def npy(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def peak_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def current_memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) * 1024


def main() -> None:
    machine.describe(packages=("fastapi", "uvicorn"))
    with tempfile.TemporaryDirectory() as data_dir:
        server = subprocess.Popen([sys.executable, __file__, "serve", data_dir], stdout=subprocess.PIPE, text=True)
        try:
            measure(int(server.stdout.readline()), server.pid)
        finally:
            server.terminate()
            server.wait()


def measure(port: int, pid: int) -> None:
    forward, echo = Client(port), Client(port)
    forward.wait_ready()
    x = np.random.default_rng(0).standard_normal(1 << 24, dtype=np.float32)
    body = npy(x)

    for variant in VARIANTS.values():
        shaped = npy(x.reshape(SHAPES[len(variant.example_shape)]))
        Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak starts anew
        before = current_memory(pid)
        forward.post(f"/dropout/forward?rate=0.5&seed=7&variant={variant.name}", shaped, NPY)
        peak = (peak_memory(pid) - before) / len(body)
        print(f"http_forward_64MB_{variant.name}_peak_memory {peak:.2f} bodies")

    times = interleaved(
        {
            "forward": lambda: forward.post("/dropout/forward?rate=0.5&seed=7", body, NPY),
            "echo": lambda: echo.post("/echo", body, NPY),
        },
        rounds=15,
    )
    print(f"http_forward_64MB_npy {statistics.median(times['forward']) * 1e3:.1f} ms")
    print(f"http_echo_64MB {statistics.median(times['echo']) * 1e3:.1f} ms")
    print(f"http_forward_over_echo {ratio(times['forward'], times['echo']):.3f} ratio")

    small = json.dumps({"x": [[1, 2], [3, 4]], "rate": 0.5, "seed": 7}).encode()
    times = interleaved(
        {
            "forward": lambda: [forward.post("/dropout/forward", small, JSON) for _ in range(50)],
            "bare": lambda: [echo.post("/bare", small, JSON) for _ in range(50)],
        },
        rounds=30,
    )
    print(f"http_forward_small_json {statistics.median(times['forward']) / 50 * 1e3:.3f} ms")
    print(f"http_bare_route_small_json {statistics.median(times['bare']) / 50 * 1e3:.3f} ms")
    print(f"http_forward_over_bare_route {ratio(times['forward'], times['bare']):.3f} ratio")

    table = np.random.default_rng(0).standard_normal((10_000, 784), dtype=np.float32)
    as_json = json.dumps({"x": table.tolist(), "rate": 0.5, "seed": 7, "dtype": "float32"}).encode()
    as_npy = npy(table)
    forward.connection.close()  # the server has, in the time it took to write that JSON
    times = interleaved(
        {
            "json": lambda: forward.post("/dropout/forward", as_json, JSON),
            "npy": lambda: forward.post("/dropout/forward?rate=0.5&seed=7", as_npy, NPY),
        },
        rounds=3,
    )
    for name, content in (("json", as_json), ("npy", as_npy)):
        print(f"http_forward_10000x784_{name} {statistics.median(times[name]):.3f} s")
        print(f"http_forward_10000x784_{name}_body {len(content) / 1e6:.0f} MB")
    print(f"http_json_over_npy {ratio(times['json'], times['npy']):.1f} ratio")


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        serve(sys.argv[2])
    else:
        main()
