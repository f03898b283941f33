"""Kill -9 of everything in the middle of a storm of writes: whatever was acknowledged is there afterwards, once."""

from __future__ import annotations

import random
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from service_tree import OCTETS, ServiceTree, service_tree
from trainings import DATASETS

if TYPE_CHECKING:
    from pathlib import Path

    from fault_ledger import Ledger

CUTS = 10
WRITERS = 4
RUN = 100
"""Jobs that are run to their end."""


class Writers:
    """Threads that submit jobs, upload datasets and cancel, as fast as they are answered, until they are told to stop.

    Each job has a name of its own and a key of its own, and is sent again until it is acknowledged.
    """

    def __init__(self, tree: ServiceTree, dataset: str, rng: random.Random) -> None:
        self._tree = tree
        self._dataset = dataset
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.acknowledged: dict[str, str] = {}
        self.datasets: set[str] = set()
        self.refused: list[str] = []
        seeds = [rng.random() for _ in range(WRITERS)]
        self._threads = [threading.Thread(target=self._write, args=(n, seed)) for n, seed in enumerate(seeds)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _write(self, writer: int, seed: float) -> None:
        rng = random.Random(seed)  # noqa: S311 - a plan, no secret
        number = 0
        with httpx.Client(base_url=self._tree.url, timeout=60) as http:
            while not self._stop.is_set():
                number += 1
                name = f"{writer}-{number}"
                if rng.random() < 0.2:
                    content = f"a,y\n{writer},0\n{number},1\n".encode()
                    self._insist(http, "/datasets", lambda answer: self.datasets.add(answer["id"]),
                                 content=content, headers=OCTETS)  # fmt: skip
                    continue
                spec: dict[str, Any] = {
                    "name": name,
                    "task": "classification",
                    "data": {"dataset": self._dataset},
                    "model": {"hidden": [8]},
                    "epochs": 1,
                }
                headers = {"Idempotency-Key": name}
                self._insist(http, "/jobs", lambda answer, name=name: self._acknowledge(name, answer),
                             json=spec, headers=headers)  # fmt: skip

    def _acknowledge(self, name: str, job: dict[str, Any]) -> None:
        with self._lock:
            self.acknowledged[name] = job["id"]

    def _insist(self, http: httpx.Client, path: str, note: Any, **request: Any) -> None:
        """Send a request until it is answered; a service that is being started again does not answer."""
        while not self._stop.is_set():
            try:
                answer = http.post(path, **request)
            except httpx.TransportError:
                time.sleep(0.05)
                continue
            if answer.status_code in {200, 201, 202}:
                note(answer.json())
                return
            if answer.status_code != 409:  # 409: the first try was cut off, and its key is held for a moment
                self.refused.append(answer.text)
                return
            time.sleep(0.05)


@pytest.mark.timeout(400)
def test_what_was_acknowledged_survives_a_power_cut(tmp_path: Path, rng: random.Random, ledger: Ledger):
    with service_tree(tmp_path / "data") as tree:
        dataset = tree.upload(DATASETS["classification"])
        writers = Writers(tree, dataset, rng)
        writers.start()
        try:
            for _ in range(CUTS):
                time.sleep(rng.uniform(0.2, 2.0))  # the random moment
                tree.kill()
                ledger.count("faults_injected.power_cut")
                assert_sound(tree.data_dir / "dropout.sqlite3")
                tree.start()
        finally:
            writers.stop()
        assert writers.refused == []
        assert len(writers.acknowledged) > RUN
        names = names_by_id(tree)
        lost = {name for name, job_id in writers.acknowledged.items() if names.get(job_id) != name}
        twice = len(names) - len(set(names.values()))
        ledger.count("submits_acknowledged.power_cut", len(writers.acknowledged))
        ledger.count("jobs_lost", len(lost))
        ledger.count("results_duplicate", twice)
        assert not lost
        assert not twice
        for dataset_id in writers.datasets:
            assert tree.http.get(f"/datasets/{dataset_id}/content").status_code == 200
        for job_id in sorted(names)[RUN:]:  # all that can still be called off is, to be done in time
            assert tree.http.post(f"/jobs/{job_id}/cancel").status_code in {202, 409}
        for job_id in names:
            assert tree.ended(job_id)["status"] in {"succeeded", "cancelled"}
        assert all(tree.job(job_id)["status"] == "succeeded" for job_id in sorted(names)[:RUN])
        ledger.count("jobs_completed.power_cut", RUN)


def assert_sound(database: Path) -> None:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def names_by_id(tree: ServiceTree) -> dict[str, str]:
    found: dict[str, str] = {}
    cursor: str | None = None
    while True:
        page = tree.http.get("/jobs", params={"limit": 200, **({"cursor": cursor} if cursor else {})}).json()
        found |= {job["id"]: job["name"] for job in page["items"]}
        cursor = page["next_cursor"]
        if cursor is None:
            return found
