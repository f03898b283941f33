"""Disks that are full or read-only: what a user is told, and that nothing accepted is lost."""

from __future__ import annotations

import http
import signal
import sqlite3
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
import pytest
from mounts import SmallDisk
from postgres import run_postgres
from service_tree import OCTETS, ServiceTree, service_tree, wait_for
from undisturbed import Undisturbed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from fault_ledger import Ledger

pytestmark = pytest.mark.timeout(300)

KINDS = ("adam", "early stopping")
SIZE_BYTES = 24 << 20
MINUTE_S = 60


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with SmallDisk(tmp_path / "data", SIZE_BYTES) as disk:
        yield disk


@pytest.fixture
def tree(disk: SmallDisk) -> Iterator[ServiceTree]:
    with service_tree(disk.folder, prefix=disk.inside) as tree:
        yield tree


def large_dataset() -> bytes:
    rng = np.random.default_rng(1)
    return b"a,b,y\n" + "\n".join(f"{a:.9f},{b:.9f},{a > b:d}" for a, b in rng.normal(size=(60_000, 2))).encode()


def assert_told(answer: httpx.Response, status: int, code: str) -> None:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"]
    assert answer.json()["type"].endswith(f":{code}")


def test_a_full_disk_stops_nothing_that_runs_and_refuses_what_is_new(
    tree: ServiceTree, disk: SmallDisk, ledger: Ledger
):
    undisturbed = Undisturbed.run(tree, KINDS)
    jobs = {undisturbed.submit(tree, kind): kind for kind in (*KINDS, *KINDS)}
    running = list(jobs)[:2]
    for job_id in running:
        wait_for(lambda job_id=job_id: tree.job(job_id)["epoch"] >= 1, "the first epoch")
    disk.fill()
    ledger.count("faults_injected.disk_full")

    content = large_dataset()
    assert_told(tree.http.post("/datasets", content=content, headers=OCTETS), 507, "storage-full")
    data = {"x": [[n, n % 7] for n in range(50)], "y": [n % 2 for n in range(50)]}
    in_place = {"task": "classification", "data": data, "epochs": 2}
    assert_told(tree.http.post("/jobs", json=in_place), 507, "storage-full")
    accepted = []
    for number in range(100):  # until the log of the database is full as well
        answer = tree.http.post("/jobs", json={**undisturbed.specs["adam"], "name": f"{number}", "epochs": 1})
        if answer.status_code != http.HTTPStatus.ACCEPTED:
            break
        accepted.append(answer.json()["id"])
    assert_told(answer, 507, "storage-full")
    assert tree.http.get("/jobs").status_code == http.HTTPStatus.OK

    disk.make_room()
    wait_for(
        lambda: tree.http.post("/datasets", content=content, headers=OCTETS).status_code == 201,
        "an upload that succeeds",
    )
    jobs |= {tree.submit({**undisturbed.specs["adam"]}): "adam"}
    undisturbed.confirm(tree, jobs, ledger, "disk_full")
    assert {tree.ended(job_id)["status"] for job_id in accepted} <= {"succeeded"}
    assert {tree.job(job_id)["attempt"] for job_id in jobs} == {1}, "what ran was not interrupted"


def test_a_result_waits_for_room(tree: ServiceTree, disk: SmallDisk, ledger: Ledger):
    """The disk gets full while it trains, and stays full beyond the end of the training and of its lease."""
    undisturbed = Undisturbed.run(tree, KINDS[:1])
    job_id = undisturbed.submit(tree, KINDS[0])
    wait_for(lambda: tree.job(job_id)["epoch"] >= 1, "the first epoch")
    disk.fill()
    ledger.count("faults_injected.disk_full")
    wait_for(lambda: f"{job_id} waits: cannot write blob" in tree.log.read_text(), "the attempt to save the model")
    time.sleep(6)  # longer than its lease: that is what is tried
    assert tree.job(job_id)["finished_at"] is None
    disk.make_room()
    undisturbed.confirm(tree, {job_id: KINDS[0]}, ledger, "disk_full")
    assert tree.job(job_id)["attempt"] == 1


def test_a_service_does_not_start_on_a_folder_that_cannot_be_written(disk: SmallDisk):
    disk.make_read_only(disk.folder)
    tree = ServiceTree(disk.folder, prefix=disk.inside)
    try:
        assert tree.launch().wait(60) == 2
        assert tree.log.read_text().splitlines() == [
            f"DROPOUT_SERVICE_DATA_DIR: {disk.folder} is no folder that can be written: Read-only file system"
        ]
    finally:
        tree.close()


def test_blobs_that_become_read_only_stop_nothing_that_runs(tree: ServiceTree, disk: SmallDisk, ledger: Ledger):
    undisturbed = Undisturbed.run(tree, KINDS)
    jobs = {undisturbed.submit(tree, kind): kind for kind in KINDS}
    for job_id in jobs:
        wait_for(lambda job_id=job_id: tree.job(job_id)["epoch"] >= 1, "the first epoch")
    blobs = disk.folder / "blobs"
    disk.make_read_only(blobs)
    ledger.count("faults_injected.read_only")
    assert_told(tree.http.post("/datasets", content=large_dataset(), headers=OCTETS), 503, "unavailable")
    wait_for(lambda: "no checkpoint: cannot write" in tree.log.read_text(), "a checkpoint that cannot be written")
    disk.make_writable(blobs)
    undisturbed.confirm(tree, jobs, ledger, "read_only")
    assert {tree.job(job_id)["attempt"] for job_id in jobs} == {1}


def test_a_data_folder_that_becomes_read_only_loses_nothing(tree: ServiceTree, disk: SmallDisk, ledger: Ledger):
    """Files that are open stay writable, as this mount has it; whatever has to be opened is refused."""
    undisturbed = Undisturbed.run(tree, KINDS)
    running = {undisturbed.submit(tree, kind): kind for kind in KINDS}
    waiting = {undisturbed.submit(tree, kind): kind for kind in KINDS}
    for job_id in running:
        wait_for(lambda job_id=job_id: tree.job(job_id)["epoch"] >= 1, "the first epoch")
    disk.make_read_only(disk.folder)
    ledger.count("faults_injected.read_only")
    assert_told(tree.http.post("/datasets", content=large_dataset(), headers=OCTETS), 503, "unavailable")
    assert tree.http.get("/jobs").status_code == http.HTTPStatus.OK
    wait_for(lambda: "no checkpoint: cannot write" in tree.log.read_text(), "a checkpoint that cannot be written")
    wait_for(lambda: " waits: " in tree.log.read_text(), "a model that cannot be saved")
    assert {tree.job(job_id)["finished_at"] for job_id in (*running, *waiting)} == {None}
    disk.make_writable(disk.folder)
    undisturbed.confirm(tree, running | waiting, ledger, "read_only")
    assert {tree.job(job_id)["attempt"] for job_id in (*running, *waiting)} == {1}
    assert tree.http.post("/datasets", content=large_dataset(), headers=OCTETS).status_code == http.HTTPStatus.CREATED


@contextmanager
def locked(tree: ServiceTree) -> Iterator[None]:
    """Hold the write lock of the database."""
    connection = sqlite3.connect(tree.data_dir / "dropout.sqlite3", isolation_level=None, timeout=30)
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        connection.close()


def test_a_locked_database_stops_no_training(tmp_path: Path, ledger: Ledger):
    with service_tree(tmp_path / "data", lease_s=2) as tree:
        undisturbed = Undisturbed.run(tree, KINDS)
        jobs = {undisturbed.submit(tree, kind): kind for kind in KINDS}
        for job_id in jobs:
            wait_for(lambda job_id=job_id: tree.job(job_id)["epoch"] >= 1, "the first epoch")
        with locked(tree):
            ledger.count("faults_injected.database_locked")
            before = {job_id: tree.job(job_id)["epoch"] for job_id in jobs}
            # Longer than a writer waits: it is told. Reading goes on.
            answer = tree.http.post("/jobs", json={**undisturbed.specs["adam"], "epochs": 1})
            assert_told(answer, 503, "unavailable")
            assert {job_id: tree.job(job_id)["epoch"] for job_id in jobs} == before
        undisturbed.confirm(tree, jobs, ledger, "database_locked")
        assert {tree.job(job_id)["attempt"] for job_id in jobs} == {1}, "what ran was not interrupted"


def told_at_once(tree: ServiceTree, job_id: str) -> int:
    """Return how many epochs the fullest report of a job told: those that it trained while nobody listened."""
    reports = Counter(event["at"] for event in tree.events(job_id) if event["type"] == "epoch")
    return max(reports.values())


def test_a_database_that_is_stopped_and_started_stops_no_training(tmp_path: Path, ledger: Ledger):
    with (
        run_postgres(settings=()) as postgres,
        postgres.database("faults") as url,
        # With a longer lease it would not show that nobody is taken for lost while nobody can be heard.
        service_tree(tmp_path / "data", database_url=url, lease_s=2, workers=3) as tree,
    ):
        undisturbed = Undisturbed.run(tree, KINDS)
        endless = tree.submit({**undisturbed.specs["adam"], "epochs": 1_000_000})
        jobs = {undisturbed.submit(tree, kind): kind for kind in KINDS}
        for job_id in (endless, *jobs):
            wait_for(lambda job_id=job_id: tree.job(job_id)["epoch"] >= 1, "the first epoch")
        # Both are longer than a lease: that is what is tried.
        for how, away_s in ((signal.SIGINT, 4), (postgres.AT_ONCE, MINUTE_S)):
            postgres.stop(how)
            ledger.count("faults_injected.database_stopped")
            assert_told(tree.http.get("/jobs"), 503, "unavailable")
            assert_told(tree.http.post("/jobs", json=undisturbed.specs["adam"]), 503, "unavailable")
            assert tree.http.get("/readyz").status_code == 503
            assert tree.http.get("/livez").status_code == 200
            time.sleep(away_s)
            postgres.start()
            wait_for(tree.is_ready, "the service to be ready")
            ledger.count("seconds_away.database", away_s)
            wait_for(lambda least=2 * away_s: told_at_once(tree, endless) > least, "the epochs of that time")
        assert tree.http.post(f"/jobs/{endless}/cancel").status_code == 202
        assert tree.ended(endless)["attempt"] == 1
        undisturbed.confirm(tree, jobs, ledger, "database_stopped")
        assert {tree.job(job_id)["attempt"] for job_id in jobs} == {1}, "what ran was not interrupted"
