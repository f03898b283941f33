"""The job store on SQLite and on PostgreSQL: writes a second, reads with many jobs waiting, and how fast news travels.

    python benchmarks/job_store.py [--jobs 200] [--queued 10000]

Both databases sync each commit to the same disk; the PostgreSQL is a real server on this machine, reached by its
socket. Each figure of writes is the median of five rounds, in turns. The way of an event is measured through two
servers: a job is cancelled at one, and its stream of events is read at the other; from the time of the event, which is
told just before its commit, to the arrival of its frame.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import httpx

import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "support"))

from live_server import serve
from postgres import run_postgres

from dropout_service.database.engine import open_database, reading
from dropout_service.database.migrate import upgrade
from dropout_service.jobs.attempts import Attempt, Report
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Engine

ROUNDS = 5
THREADS = 8
LEASE_S = 3600.0
EVENTS = 100
DATA = {"x": [[0.0], [1.0], [0.0], [1.0]], "y": ["a", "b", "a", "b"]}
SPEC = TrainingSpec.model_validate(
    {"name": "digits", "task": "classification", "data": {"dataset": "sha256-4f2a"}, "epochs": 10}
)


def rate(work: Callable[[int], object], number: int, threads: int) -> float:
    """Return how many calls a second were done."""
    began = time.perf_counter()
    if threads == 1:
        for n in range(number):
            work(n)
    else:
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(work, range(number)))
    return number / (time.perf_counter() - began)


def writes(store: SqlJobStore, number: int) -> Iterator[tuple[str, float]]:
    """Submit jobs, claim them one by one, and let each report an epoch and then no more than that it lives."""
    for threads in (1, THREADS):
        suffix = f"_{threads}_threads" if threads > 1 else ""
        claimed: list[Attempt] = []

        def claim(_: int, claimed: list[Attempt] = claimed) -> None:
            claimed.extend(Attempt(job.id, job.attempt) for job in store.claim(1, dispatcher="d", lease_s=LEASE_S))

        def report(n: int, claimed: list[Attempt] = claimed) -> None:
            epoch = {"epoch": 1, "train": {"loss": 0.5, "accuracy": 0.75}, "validation": {"loss": 0.5}}
            store.heartbeat(claimed[n], Report(0.1, (epoch,)), lease_s=LEASE_S)

        def live(n: int, claimed: list[Attempt] = claimed) -> None:
            store.heartbeat(claimed[n], Report(0.1), lease_s=LEASE_S)

        yield f"submits{suffix}", rate(lambda _: store.submit(SPEC), number, threads)
        yield f"claims{suffix}", rate(claim, number, threads)
        assert len(set(claimed)) == number, "each job once"
        yield f"epochs{suffix}", rate(report, number, threads)
        yield f"heartbeats{suffix}", rate(live, number, threads)


def median_ms(call: Callable[[], object], times: int = 30) -> float:
    taken: list[float] = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def with_many_waiting(store: SqlJobStore, number: int) -> Iterator[tuple[str, float, str]]:
    """Queue many jobs, and measure what users and dispatchers wait for."""
    yield f"submits_up_to_{number}", rate(lambda _: store.submit(SPEC), number, THREADS), "1/s"
    deep: str | None = None
    for _ in range(number // 1000):
        deep = store.list(limit=500, after=deep)[-1].id
    yield "list_50_first_page", median_ms(lambda: store.list(limit=50)), "ms"
    yield "list_50_deep_page", median_ms(lambda: store.list(limit=50, after=deep)), "ms"
    yield "submit_with_many_waiting", median_ms(lambda: store.submit(SPEC)), "ms"
    yield "claim_with_many_waiting", median_ms(lambda: store.claim(1, dispatcher="d", lease_s=LEASE_S)), "ms"


def news(url: str, folder: Path) -> tuple[float, float]:
    """Return the median and the 99th percentile of the way of an event through two servers, in milliseconds."""
    environment = {
        "DROPOUT_SERVICE_DATABASE_URL": url,
        "DROPOUT_SERVICE_BLOB_URL": (folder / "blobs").as_uri(),
        "DROPOUT_SERVICE_DISPATCHER": "false",
        "DROPOUT_SERVICE_LOG_LEVEL": "warning",
    }
    with (
        serve(folder / "a", environment) as a,
        serve(folder / "b", environment) as b,
        httpx.Client(base_url=a.url, timeout=60) as here,
        httpx.Client(base_url=b.url, timeout=60) as there,
    ):
        taken = sorted(_way_of_one(here, there) for _ in range(EVENTS))
    return statistics.median(taken), taken[int(0.99 * len(taken))]


def _way_of_one(here: httpx.Client, there: httpx.Client) -> float:
    job = here.post("/jobs", json={"task": "classification", "data": DATA}).json()["id"]
    reached: dict[str, float] = {}
    waits = threading.Event()

    def follow() -> None:
        with there.stream("GET", f"/jobs/{job}/events") as stream:
            for line in stream.iter_lines():
                if line.startswith("data: "):
                    event = json.loads(line.removeprefix("data: "))
                    told_at = datetime.fromisoformat(event["at"]).timestamp()
                    reached[event["type"]] = 1000 * (time.time() - told_at)
                    waits.set()

    reader = threading.Thread(target=follow)
    reader.start()
    waits.wait(60)
    time.sleep(0.1)  # until the stream waits for more; the figure is the way of news, not of a first page
    here.post(f"/jobs/{job}/cancel").raise_for_status()
    reader.join(60)
    return reached["cancelled"]


def tell(name: str, value: float, unit: str) -> None:
    print(f"{name} {value:.4g} {unit}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=200, help="jobs of a round of writes")
    parser.add_argument("--queued", type=int, default=10_000, help="jobs that wait while reads are measured")
    options = parser.parse_args()
    machine.describe(packages=("psycopg", "sqlalchemy"))
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        server = stack.enter_context(run_postgres(("fsync=on", "shared_buffers=128MB", "autovacuum=on")))
        urls = {
            "sqlite": f"sqlite:///{folder}/service.db",
            "postgresql": stack.enter_context(server.database("benchmark")),
        }
        stores: dict[str, SqlJobStore] = {}
        engines: dict[str, Engine] = {}
        for name, url in urls.items():
            upgrade(url)
            engines[name] = open_database(url)
            stack.callback(engines[name].dispose)
            stores[name] = SqlJobStore(engines[name])
        with reading(engines["postgresql"]) as connection:
            version = connection.exec_driver_sql("SHOW server_version").scalar_one()
        print(f"sqlite {sqlite3.sqlite_version} version")
        print(f"postgresql {version.partition(' ')[0]} version")
        found: dict[str, list[float]] = {}
        for _ in range(ROUNDS):
            for name, store in stores.items():
                for what, value in writes(store, options.jobs):
                    found.setdefault(f"{name}_{what}", []).append(value)
        for name, values in found.items():
            tell(name, statistics.median(values), "1/s")
        for name, store in stores.items():
            for what, value, unit in with_many_waiting(store, options.queued):
                tell(f"{name}_{what}", value, unit)
        for name, url in urls.items():
            median, worst = news(url, folder / name)
            tell(f"{name}_event_to_other_server_median", median, "ms")
            tell(f"{name}_event_to_other_server_p99", worst, "ms")


if __name__ == "__main__":
    main()
