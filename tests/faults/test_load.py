"""Ten thousand jobs in the queue, a job that kills its process each time, and cancels by the dozen."""

from __future__ import annotations

import statistics
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from service_tree import ServiceTree, alive, service_tree, wait_for
from trainings import DATASETS
from undisturbed import Undisturbed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from fault_ledger import Ledger

QUEUED = 10_000
CLIENTS = 8
CANCELS = 100


def short_job(tree: ServiceTree) -> dict[str, Any]:
    dataset = tree.upload(DATASETS["classification"])
    return {"task": "classification", "data": {"dataset": dataset}, "model": {"hidden": [8]}, "epochs": 1}


def seconds(call: Callable[[], httpx.Response], status: int) -> float:
    began = time.perf_counter()
    answer = call()
    passed = time.perf_counter() - began
    assert answer.status_code == status, answer.text
    return passed


def tell(ledger: Ledger, name: str, times: list[float]) -> None:
    ledger.figure(f"{name}.median", 1000 * statistics.median(times), "ms")
    ledger.figure(f"{name}.p99", 1000 * statistics.quantiles(times, n=100)[98], "ms")


@pytest.mark.timeout(400)
def test_ten_thousand_waiting_jobs_slow_nothing_down(tmp_path: Path, ledger: Ledger):
    with service_tree(tmp_path / "data", workers=1) as tree:
        spec = short_job(tree)
        # One that runs for as long as we need: the queue must be long, and the service busy.
        busy = tree.submit({**spec, "epochs": 1_000_000})
        with httpx.Client(base_url=tree.url, timeout=60, limits=httpx.Limits(max_connections=CLIENTS)) as http:

            def submit(number: int) -> float:
                return seconds(lambda: http.post("/jobs", json={**spec, "name": str(number)}), 202)

            began = time.perf_counter()
            with ThreadPoolExecutor(CLIENTS) as pool:
                times = list(pool.map(submit, range(QUEUED)))
            ledger.figure("queued.submits", QUEUED / (time.perf_counter() - began), "jobs/s")
        tell(ledger, "queued.submit_first_500", times[:500])
        tell(ledger, "queued.submit_last_500", times[-500:])

        first = tree.http.get("/jobs", params={"limit": 50}).json()
        deep = first
        for _ in range(20):
            deep = tree.http.get("/jobs", params={"limit": 200, "cursor": deep["next_cursor"]}).json()
        pages: dict[str, dict[str, Any]] = {
            "first_page": {"limit": 50},
            "deep_page": {"limit": 50, "cursor": deep["next_cursor"]},
            "running": {"limit": 50, "status": "running"},
        }
        medians: dict[str, float] = {}
        for name, query in pages.items():
            taken = [seconds(lambda query=query: tree.http.get("/jobs", params=query), 200) for _ in range(100)]
            tell(ledger, f"queued.list_{name}", taken)
            medians[name] = statistics.median(taken)
        job_id = first["items"][0]["id"]
        tell(ledger, "queued.read_job", [seconds(lambda: tree.http.get(f"/jobs/{job_id}"), 200) for _ in range(200)])

        # As fast at the end as at the beginning, and nowhere a scan of the queue.
        assert statistics.median(times[-500:]) < 3 * statistics.median(times[:500])
        assert medians["deep_page"] < 3 * medians["first_page"]
        assert [job["id"] for job in tree.http.get("/jobs", params=pages["running"]).json()["items"]] == [busy]

        last = tree.http.post("/jobs", json=spec).json()["id"]
        waiting = tree.http.get("/jobs", params={"status": "queued", "limit": 200}).json()["items"]
        assert waiting[0]["id"] == last
        tree.http.post(f"/jobs/{busy}/cancel")
        done_at = time.perf_counter()
        wait_for(lambda: len(succeeded(tree)) >= 50, "fifty jobs off the queue")
        ledger.figure("queued.jobs_run_by_one_worker", 50 / (time.perf_counter() - done_at), "jobs/s")


def succeeded(tree: ServiceTree) -> list[dict[str, Any]]:
    return tree.http.get("/jobs", params={"status": "succeeded", "limit": 200}).json()["items"]


@pytest.mark.timeout(300)
def test_a_job_that_kills_its_process_each_time_is_given_up_and_its_neighbours_go_on(tmp_path: Path, ledger: Ledger):
    kinds = ("early stopping", "adam")
    with service_tree(tmp_path / "data", checkpoint_s=600) as tree:
        undisturbed = Undisturbed.run(tree, kinds)
        neighbour = undisturbed.submit(tree, kinds[0])
        (bystander,) = wait_for(tree.attempts, "the neighbour's process")
        poison = tree.submit({**undisturbed.specs["adam"], "epochs": 1_000_000})
        behind = undisturbed.submit(tree, kinds[1])
        for attempt in (1, 2, 3):
            wait_for(lambda n=attempt: tree.job(poison)["attempt"] == n, f"attempt {attempt}")
            victims = wait_for(lambda: [one for one in tree.attempts() if one != bystander], "its process")
            for victim in victims:
                victim.kill()
            wait_for(lambda gone=victims: not any(map(alive, gone)), "its end")
            ledger.count("faults_injected.poison")
        job = tree.ended(poison)
        assert (job["status"], job["stop_reason"], job["failure"]["code"]) == ("failed", "lost", "lost")
        assert "3 times in a row without a new checkpoint" in job["failure"]["message"]
        assert job["failure"]["hint"]
        reasons = [event["data"]["reason"] for event in tree.events(poison) if event["type"] == "restarted"]
        assert reasons == ["lost", "lost"]
        undisturbed.confirm(tree, {neighbour: kinds[0], behind: kinds[1]}, ledger, "beside_poison")
        assert tree.job(neighbour)["attempt"] == 1


@pytest.mark.timeout(300)
def test_a_cancelled_training_is_gone_within_a_second(tmp_path: Path, ledger: Ledger):
    with service_tree(tmp_path / "data", workers=1) as tree:
        spec = {**short_job(tree), "model": {"hidden": [128, 128]}, "epochs": 1_000_000}
        latencies: list[float] = []
        for _ in range(CANCELS):
            job_id = tree.submit(spec)
            wait_for(lambda job_id=job_id: tree.job(job_id)["epoch"] >= 1, "the first epoch")
            (process,) = tree.attempts()
            asked = time.perf_counter()
            assert tree.http.post(f"/jobs/{job_id}/cancel").status_code == 202
            wait_for(lambda process=process: not alive(process), "the end of the process")
            latencies.append(time.perf_counter() - asked)
            assert tree.ended(job_id)["status"] == "cancelled"
        tell(ledger, "cancel_to_gone", latencies)
        assert max(latencies) < 1
