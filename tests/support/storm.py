"""A storm: jobs that train while faults hit the service at random moments."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
from service_tree import ServiceTree, wait_for

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping

    from fault_ledger import Ledger

__all__ = ["FAULTS", "Storm"]


def _kill_training(tree: ServiceTree, rng: random.Random) -> None:
    attempts = tree.attempts()
    if attempts:
        rng.choice(attempts).kill()


def _kill_dispatcher(tree: ServiceTree, _rng: random.Random) -> None:
    wait_for(tree.dispatcher, "the dispatcher").kill()


def _kill_forkserver(tree: ServiceTree, _rng: random.Random) -> None:
    wait_for(tree.forkserver, "the forkserver").kill()


def _kill_all(tree: ServiceTree, _rng: random.Random) -> None:
    tree.kill()
    tree.start()


def _stop(tree: ServiceTree, _rng: random.Random) -> None:
    assert tree.stop() == 0
    tree.start()


def _damage_and_kill(tree: ServiceTree, rng: random.Random) -> None:
    """Flip a bit in the latest checkpoint of each job that runs, and let them need it."""
    attempts = tree.attempts()
    for process in attempts:
        process.suspend()
    with tree.store() as store:
        for lease in store.leases():
            for key in store.get(lease.attempt.job_id).checkpoints[:1]:
                path = tree.data_dir / "blobs" / key
                content = bytearray(path.read_bytes())
                content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
                path.write_bytes(content)
    for process in attempts:
        process.kill()


def _pause(tree: ServiceTree, rng: random.Random) -> None:
    running = tree.http.get("/jobs", params={"status": "running"}).json()["items"]
    if not running:
        return
    job_id = rng.choice(running)["id"]
    answer = tree.http.post(f"/jobs/{job_id}/pause")
    assert answer.status_code in {202, 409}, answer.text  # 409: it has ended meanwhile
    job = wait_for(lambda: (job := tree.job(job_id))["status"] not in {"running", "pausing"} and job, "the pause")
    if job["status"] == "paused":
        answer = tree.http.post(f"/jobs/{job_id}/resume")
        assert answer.status_code == 202, answer.text


FAULTS: Mapping[str, tuple[int, Callable[[ServiceTree, random.Random], None]]] = {
    "kill_training": (10, _kill_training),
    "pause_and_resume": (6, _pause),
    "kill_dispatcher": (3, _kill_dispatcher),
    "kill_forkserver": (2, _kill_forkserver),
    "damage_checkpoint_and_kill": (2, _damage_and_kill),
    "kill_all": (3, _kill_all),
    "sigterm": (3, _stop),
}
"""By name: how often, and what to do."""

_SINGLE = {"kill_training", "pause_and_resume"}
"""Faults that hit one job; the others hit every one that runs."""


@dataclass(frozen=True, slots=True)
class _Fault:
    kind: str
    at: float
    running: dict[str, int]


class Storm:
    """Keeps jobs running and hits them until enough attempts were interrupted; then lets them end in peace.

    Parameters
    ----------
    tree
        The service.
    rng
        Decides which fault comes when.
    specs
        What to train, by kind.
    ledger
        For the figures.
    """

    def __init__(
        self, tree: ServiceTree, rng: random.Random, specs: Mapping[str, Mapping[str, Any]], ledger: Ledger
    ) -> None:
        self.jobs: dict[str, str] = {}
        self._tree = tree
        self._rng = rng
        self._specs = specs
        self._ledger = ledger
        self._faults: list[_Fault] = []
        self._kinds = list(specs)

    def rage(self, interruptions: int) -> None:
        """Interrupt attempts at random; afterwards `jobs` tells the kind of each job, all of which have ended."""
        while self._interrupted() < interruptions:
            self._submit()
            time.sleep(self._rng.uniform(0.05, 1.0))  # the random moment
            self._strike()
        for job_id in self.jobs:
            self._tree.ended(job_id)
        self._tell()

    def _submit(self) -> None:
        """Keep three jobs that have not ended: two that run, and one that waits."""
        unfinished = [job_id for job_id in self.jobs if self._tree.job(job_id)["finished_at"] is None]
        for _ in range(3 - len(unfinished)):
            kind = self._kinds[len(self.jobs) % len(self._kinds)]
            self.jobs[self._tree.submit(self._specs[kind])] = kind

    def _strike(self) -> None:
        kinds = list(FAULTS)
        (kind,) = self._rng.choices(kinds, [FAULTS[kind][0] for kind in kinds])
        self._wait_for_progress()
        fault = _Fault(kind, time.time(), self._running())
        FAULTS[kind][1](self._tree, self._rng)
        self._faults.append(fault)
        if fault.running:
            wait_for(lambda: self._moved_on(fault), f"the recovery from {kind} of {fault.running}")

    def _wait_for_progress(self) -> None:
        """Wait until no job is on its last attempt.

        Three that die in a row without a checkpoint between them end a job: that is promised too, and tested elsewhere.
        """
        with self._tree.store() as store:
            wait_for(
                lambda: all(
                    store.get(job_id).crashes < 2 or store.get(job_id).status.terminal for job_id in self._running()
                ),
                "a checkpoint",
            )

    def _running(self) -> dict[str, int]:
        items = self._tree.http.get("/jobs", params={"status": "running"}).json()["items"]
        return {item["id"]: item["attempt"] for item in items}

    def _moved_on(self, fault: _Fault) -> bool:
        moved = [self._has_moved_on(job_id, attempt) for job_id, attempt in fault.running.items()]
        return any(moved) if fault.kind in _SINGLE else all(moved)

    def _has_moved_on(self, job_id: str, attempt: int) -> bool:
        try:
            job = self._tree.job(job_id)
        except httpx.TransportError:
            return False
        return job["finished_at"] is not None or (job["status"] == "running" and job["attempt"] > attempt)

    def _interrupted(self) -> int:
        return sum(max(0, self._tree.job(job_id)["attempt"] - 1) for job_id in self.jobs)

    def _tell(self) -> None:
        """Enter into the ledger what was done, and how long each job took to be training again."""
        events = {job_id: self._tree.events(job_id) for job_id in self.jobs}
        ends = [*(fault.at for fault in self._faults[1:]), math.inf]
        for fault, until in zip(self._faults, ends, strict=True):
            self._ledger.count(f"faults_injected.{fault.kind}")
            for job_id, attempt in fault.running.items():
                after = [event for event in events[job_id] if fault.at <= _at(event) < until]
                started = next((event for event in after if event["type"] == "started"), None)
                if started is None or started["data"]["attempt"] != attempt + 1:
                    continue  # it was not hit, or had ended
                self._ledger.count(f"attempts_interrupted.{fault.kind}")
                self._ledger.sample(f"recover_to_started.{fault.kind}", _at(started) - fault.at, "s")
                epochs = (one for one in after if one["type"] == "epoch" and one["sequence"] > started["sequence"])
                if (progress := next(epochs, None)) is not None:
                    self._ledger.sample(f"recover_to_next_epoch.{fault.kind}", _at(progress) - fault.at, "s")


def _at(event: Mapping[str, Any]) -> float:
    return datetime.fromisoformat(event["at"]).timestamp()
