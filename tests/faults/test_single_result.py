"""A job has one result, whatever wakes up late, runs twice, or has another idea of the time."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from clocks import Clock
from dispatcher_tree import DispatcherTree
from service_tree import ServiceTree, alive, service_tree, wait_for
from undisturbed import Undisturbed

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator
    from pathlib import Path

    from fault_ledger import Ledger

pytestmark = pytest.mark.timeout(300)

KINDS = ("adam", "momentum and cosine", "gaussian and clipping", "curriculum")


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServiceTree]:
    """Serve HTTP without a dispatcher; each test brings its own."""
    with service_tree(tmp_path_factory.mktemp("single") / "data", dispatcher=False) as tree:
        yield tree


@pytest.fixture(scope="module")
def undisturbed(api: ServiceTree, tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    with DispatcherTree(api, tmp_path_factory.mktemp("undisturbed") / "data"):
        return Undisturbed.run(api, KINDS)


def assert_only_results_are_kept(api: ServiceTree) -> None:
    """No artefact without a row, and no checkpoint of a job that has ended."""

    def clean() -> bool:
        rows = api.http.get("/models", params={"limit": 200}).json()["items"]
        return len(api.blobs.list("models")) == len(rows) and api.blobs.list("jobs") == []

    wait_for(clean, "the removal of what does not count")


def test_a_suspended_machine_that_wakes_up_changes_nothing(
    api: ServiceTree, undisturbed: Undisturbed, tmp_path: Path, ledger: Ledger
):
    with DispatcherTree(api, tmp_path / "one") as one, DispatcherTree(api, tmp_path / "other") as other:
        for number, kind in enumerate(KINDS):
            other.freeze()
            job_id = undisturbed.submit(api, kind)
            wait_for(lambda job_id=job_id: api.job(job_id)["epoch"] >= 1, "the first epoch")
            sleepers = one.attempts()
            one.freeze()
            ledger.count("faults_injected.suspend_machine")
            other.thaw()
            wait_for(lambda job_id=job_id: api.job(job_id)["attempt"] == 2, "the other dispatcher to take over")
            if number % 2:  # it wakes up after the end, otherwise in the middle of the second attempt
                api.ended(job_id)
            one.thaw()
            assert api.ended(job_id)["status"] == "succeeded"
            wait_for(lambda gone=sleepers: not any(alive(process) for process in gone), "the end of the first attempt")
            undisturbed.confirm(api, {job_id: kind}, ledger, "suspend_machine")
        assert_only_results_are_kept(api)


def test_a_suspended_training_is_replaced_and_its_late_result_discarded(
    api: ServiceTree, undisturbed: Undisturbed, tmp_path: Path, ledger: Ledger
):
    """The training alone sleeps, and so does whoever could kill it: it wakes up and runs to its end."""
    with DispatcherTree(api, tmp_path / "one") as one, DispatcherTree(api, tmp_path / "other") as other:
        for kind in KINDS[:2]:
            other.freeze()
            job_id = undisturbed.submit(api, kind)
            wait_for(lambda job_id=job_id: api.job(job_id)["epoch"] >= 1, "the first epoch")
            (sleeper,) = one.attempts()
            one.freeze()
            ledger.count("faults_injected.suspend_training")
            other.thaw()
            assert api.ended(job_id)["attempt"] == 2
            sleeper.resume()  # and nothing else of its machine
            wait_for(lambda sleeper=sleeper: not alive(sleeper), "the end of the late training")
            one.thaw()
            undisturbed.confirm(api, {job_id: kind}, ledger, "suspend_training")
        assert_only_results_are_kept(api)


def test_a_suspended_dispatcher_does_not_hold_up_what_runs(
    api: ServiceTree, undisturbed: Undisturbed, tmp_path: Path, ledger: Ledger
):
    with DispatcherTree(api, tmp_path / "one") as one:
        first, second = (undisturbed.submit(api, kind) for kind in KINDS[:2])
        wait_for(lambda: {api.job(first)["epoch"] > 0, api.job(second)["epoch"] > 0} == {True}, "the first epochs")
        one.process.suspend()
        ledger.count("faults_injected.suspend_dispatcher")
        for job_id in (first, second):
            assert api.ended(job_id)["attempt"] == 1
        third = undisturbed.submit(api, KINDS[2])
        one.process.resume()
        assert api.ended(third)["attempt"] == 1
        for job_id, kind in zip((first, second, third), KINDS, strict=False):
            undisturbed.confirm(api, {job_id: kind}, ledger, "suspend_dispatcher")


def test_dispatchers_share_the_jobs_and_none_runs_twice(
    api: ServiceTree, undisturbed: Undisturbed, tmp_path: Path, ledger: Ledger
):
    with ExitStack() as stack:
        for name in "abc":
            stack.enter_context(DispatcherTree(api, tmp_path / name, workers=1))
        jobs = {undisturbed.submit(api, kind): kind for _ in range(3) for kind in KINDS}
        seen: set[str] = set()
        with api.store() as store:

            def ended() -> bool:
                seen.update(lease.dispatcher for lease in store.leases())
                return all(store.get(job_id).status.terminal for job_id in jobs)

            wait_for(ended, "the end of all jobs", patience_s=240)
    assert len(seen) == 3
    for job_id, kind in jobs.items():
        assert api.job(job_id)["attempt"] == 1
        undisturbed.confirm(api, {job_id: kind}, ledger, "three_dispatchers")


@pytest.mark.parametrize("offset_s", [3600, -3600])
def test_a_clock_that_jumps_on_one_machine_costs_nothing(
    api: ServiceTree, undisturbed: Undisturbed, tmp_path: Path, offset_s: int, ledger: Ledger
):
    # Leases as long as in service: on a busy machine a sign of life can be late by seconds, whatever the clocks say.
    clock = Clock(tmp_path / "clock")
    with (
        DispatcherTree(api, tmp_path / "one", environment=clock.environment, lease_s=15) as one,
        DispatcherTree(api, tmp_path / "other", lease_s=15) as other,
    ):
        jobs = {undisturbed.submit(api, kind): kind for _ in range(3) for kind in KINDS}
        wait_for(lambda: one.attempts() and other.attempts(), "a job on each machine")
        clock.set(offset_s)
        ledger.count("faults_injected.clock_jump")
        for job_id, kind in jobs.items():
            assert api.ended(job_id)["attempt"] == 1
            undisturbed.confirm(api, {job_id: kind}, ledger, "clock_jump")


@pytest.mark.parametrize("offset_s", [3600, -3600])
def test_a_machine_whose_clock_was_wrong_and_that_dies_is_not_waited_for_for_an_hour(
    api: ServiceTree, undisturbed: Undisturbed, tmp_path: Path, offset_s: int, ledger: Ledger
):
    clock = Clock(tmp_path / "clock")
    clock.set(offset_s)
    kind = KINDS[0]
    with (
        DispatcherTree(api, tmp_path / "one", environment=clock.environment) as one,
        DispatcherTree(api, tmp_path / "other") as other,
    ):
        other.freeze()
        job_id = undisturbed.submit(api, kind)
        wait_for(lambda: api.job(job_id)["epoch"] >= 1, "the first epoch")
        one.kill()
        other.thaw()
        ledger.count("faults_injected.kill_with_wrong_clock")
        assert api.ended(job_id)["attempt"] == 2
    undisturbed.confirm(api, {job_id: kind}, ledger, "kill_with_wrong_clock")


def test_a_clock_that_is_set_for_the_whole_service_costs_nothing(tmp_path: Path, rng: random.Random, ledger: Ledger):
    clock = Clock(tmp_path / "clock")
    with service_tree(tmp_path / "data", environment=clock.environment) as tree:
        undisturbed = Undisturbed.run(tree, KINDS)
        jobs = {undisturbed.submit(tree, kind): kind for kind in KINDS}
        for job_id in jobs:
            wait_for(lambda job_id=job_id: tree.job(job_id)["epoch"] >= 1, "the first epoch")
            clock.set(rng.choice([-1, 1]) * rng.randrange(60, 100_000))
            ledger.count("faults_injected.clock_jump")
        undisturbed.confirm(tree, jobs, ledger, "clock_jump")
        assert {tree.job(job_id)["attempt"] for job_id in jobs} == {1}
