"""How long a cancelled training keeps its process: from the request to the end of the process.

    python benchmarks/cancel_latency.py [--short 70] [--stopped 30] [--long 10]

Real cancels over HTTP against a real server, of trainings in three situations: steps of a millisecond; a process that
is stopped (SIGSTOP) and so cannot obey; a step of several seconds, in which it cannot either. Prints for each, and for
all together, the median, the 99th percentile and the worst, and the same for the time until the job says `cancelled`.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil

import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from live_server import serve

ENVIRONMENT = {"DROPOUT_SERVICE_LOG_LEVEL": "warning", "DROPOUT_SERVICE_WORKERS": "1"}
BOUND_S = 1.0
PATIENCE_S = 120.0
LOOK_S = 0.001
LONG_STEP_S = 1.0
"""Time of computing after which a training of long steps is in the middle of one."""

SHORT = {"model": {"hidden": [32]}, "batch_size": 32}
LONG = {"model": {"hidden": [4000, 4000]}, "batch_size": 2000}


def attempt_of(server: psutil.Process) -> psutil.Process | None:
    """Return the process that trains now."""
    for dispatcher in server.children():
        for forkserver in dispatcher.children():
            for attempt in forkserver.children():
                if attempt.status() != psutil.STATUS_ZOMBIE:
                    return attempt
    return None


def gone(process: psutil.Process) -> bool:
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited in vain for {what}")
        time.sleep(LOOK_S)


def cancel(client: httpx.Client, server: psutil.Process, spec: dict[str, Any], situation: str) -> tuple[float, float]:
    """Cancel one training; return the seconds until its process was gone, and until the job said so."""
    job = client.post("/jobs", json=spec).raise_for_status().json()["id"]
    found: list[psutil.Process] = []
    until(lambda: found.append(one) or True if (one := attempt_of(server)) else False, "the process")
    (process,) = found
    if situation == "long step":
        until(lambda: process.cpu_times().user > LONG_STEP_S, "the middle of a step")
    else:
        until(lambda: client.get(f"/jobs/{job}").json()["epoch"], "the first epoch")
    if situation == "stopped":
        process.suspend()
    asked = time.monotonic()
    client.post(f"/jobs/{job}/cancel").raise_for_status()
    until(lambda: gone(process), "the end of the process")
    gone_s = time.monotonic() - asked
    ended = client.get(f"/jobs/{job}", params={"wait": 60}).json()
    if ended["status"] != "cancelled":
        sys.exit(f"the job is {ended['status']}")
    return gone_s, time.monotonic() - asked


def tell(name: str, seconds: list[float]) -> None:
    slug = name.replace(" ", "_")
    for figure, value in (
        ("median", np.median(seconds)),
        ("p99", np.percentile(seconds, 99)),
        ("worst", max(seconds)),
    ):
        print(f"cancel_{slug}_{figure} {value:.4f} s")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--short", type=int, default=70)
    arguments.add_argument("--stopped", type=int, default=30)
    arguments.add_argument("--long", type=int, default=10)
    asked = arguments.parse_args()
    machine.describe()
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 16))
    told: dict[str, list[tuple[float, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        serve(Path(folder), ENVIRONMENT) as running,
        httpx.Client(base_url=running.url, timeout=PATIENCE_S) as client,
    ):
        server = psutil.Process(running.process.pid)
        table = "\n".join(",".join(f"{value:.4f}" for value in row) for row in np.column_stack([x, x[:, 0] * x[:, 1]]))
        header = ",".join([*(f"x{i}" for i in range(16)), "y"])
        upload = client.post("/datasets", content=f"{header}\n{table}\n", headers={"Content-Type": "text/csv"})
        base = {"task": "regression", "data": {"dataset": upload.raise_for_status().json()["id"]}, "epochs": 1_000_000}
        for situation, spec, count in (
            ("short steps", SHORT, asked.short),
            ("stopped", SHORT, asked.stopped),
            ("long step", LONG, asked.long),
        ):
            told[situation] = [
                cancel(client, server, {**base, **spec, "validation_fraction": 0}, situation) for _ in range(count)
            ]
    print(f"cancels {sum(map(len, told.values()))} count")
    for situation, times in told.items():
        if times:
            tell(f"{situation} gone", [gone_s for gone_s, _ in times])
    everything = [one for times in told.values() for one in times]
    tell("gone", [gone_s for gone_s, _ in everything])
    tell("told", [told_s for _, told_s in everything])
    over = sum(gone_s > BOUND_S for gone_s, _ in everything)
    print(f"cancel_gone_over_bound {over} count")


if __name__ == "__main__":
    main()
