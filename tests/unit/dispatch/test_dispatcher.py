from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from sqlalchemy.exc import OperationalError

from dropout_service.blobs import BlobStore
from dropout_service.dispatch import dispatcher as dispatcher_module
from dropout_service.dispatch.config import DispatchConfig
from dropout_service.dispatch.dispatcher import Dispatcher
from dropout_service.dispatch.engine import Exit
from dropout_service.dispatch.exits import explain
from dropout_service.dispatch.process import StopRequest
from dropout_service.jobs.attempts import Attempt
from dropout_service.jobs.memory import MemoryJobStore
from dropout_service.training.spec import TrainingSpec

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Sequence

    import pytest

    from dropout_service.jobs.attempts import Lease
    from dropout_service.jobs.job import Job

SPEC = TrainingSpec.model_validate({"task": "regression", "data": {"dataset": "sha256-4f2a"}})
PATIENCE_S = 20.0
LOCKED_S = 0.6


class AnswersLater(MemoryJobStore):
    """A store whose first claim comes through, and whose answer does not."""

    lost = False

    def claim(self, n: int, *, dispatcher: str, lease_s: float) -> Sequence[Job]:
        jobs = super().claim(n, dispatcher=dispatcher, lease_s=lease_s)
        if jobs and not self.lost:
            self.lost = True
            raise OperationalError("COMMIT", {}, sqlite3.OperationalError("the connection was lost"))
        return jobs


class HeldUp(MemoryJobStore):
    """A store that is locked for a while as soon as somebody is to be taken for lost."""

    held_up = False

    def expired(self, *, exclude: Container[Attempt] = ()) -> Sequence[Job]:
        if not self.held_up and any(lease.attempt not in exclude for lease in self.leases()):
            self.held_up = True
            time.sleep(LOCKED_S)
            return []
        return super().expired(exclude=exclude)


class EndsWhenAsked:
    """An engine whose attempts do nothing until they are told to stop; the first launch ends the dispatcher."""

    def __init__(self, stop: StopRequest) -> None:
        self.launched: list[Attempt] = []
        self._stop = stop
        self._running: set[Attempt] = set()
        self._gone: list[Exit] = []
        self._deadline = time.monotonic() + PATIENCE_S

    def free(self) -> int:
        return 1 - len(self._running)

    def launch(self, attempt: Attempt) -> None:
        self.launched.append(attempt)
        self._running.add(attempt)
        self._stop._made = True

    def kill(self, attempt: Attempt, *, grace_s: float) -> None:  # noqa: ARG002 - the name is the protocol's
        self._running.remove(attempt)
        self._gone.append(Exit(attempt, *explain(0, out_of_memory=False)))

    def running(self) -> Iterable[Attempt]:
        return frozenset(self._running)

    def exits(self, timeout_s: float) -> list[Exit]:
        time.sleep(timeout_s)
        self._stop._made |= time.monotonic() > self._deadline
        gone, self._gone = self._gone, []
        return gone

    def close(self) -> None:
        """Nothing is held."""


def test_a_job_runs_though_the_answer_to_its_claim_was_lost():
    jobs, stop = AnswersLater(), StopRequest()
    job_id = jobs.submit(SPEC).id
    engine = EndsWhenAsked(stop)
    config = DispatchConfig(database_url="", blob_url="", lease_s=600)
    Dispatcher(jobs, BlobStore("memory:///"), engine, lambda: True, config).run(stop)
    assert engine.launched == [Attempt(job_id, 1)]
    assert [event.type for event in jobs.events(job_id)] == ["queued", "started", "restarted"]
    assert jobs.get(job_id).crashes == 0


def test_who_could_not_write_while_the_database_was_locked_is_given_time_to():
    jobs = HeldUp()
    job_id = jobs.submit(SPEC).id
    jobs.claim(1, dispatcher="another", lease_s=0.01)
    config = DispatchConfig(database_url="", blob_url="", lease_s=0.1)
    dispatcher = Dispatcher(jobs, BlobStore("memory:///"), EndsWhenAsked(StopRequest()), lambda: True, config)
    deadline = time.monotonic() + PATIENCE_S
    while not jobs.held_up and time.monotonic() < deadline:
        dispatcher._take_back()
    assert jobs.held_up
    dispatcher._take_back()
    assert jobs.get(job_id).status == "running"
    while jobs.get(job_id).status == "running" and time.monotonic() < deadline:
        dispatcher._take_back()
    assert jobs.get(job_id).status == "queued", "who is silent then is lost"


class FailsForOne(MemoryJobStore):
    """A store in which the end of one attempt cannot be recorded, for a reason that nobody thought of."""

    broken = ""

    def get(self, job_id: str) -> Job:
        if job_id == self.broken:
            raise RuntimeError("something nobody thought of")
        return super().get(job_id)


def test_a_job_whose_end_cannot_be_recorded_does_not_end_the_dispatcher():
    jobs, stop = FailsForOne(), StopRequest()
    broken, other = jobs.submit(SPEC).id, jobs.submit(SPEC).id
    jobs.claim(2, dispatcher="d", lease_s=600)
    jobs.broken = broken
    engine = EndsWhenAsked(stop)
    config = DispatchConfig(database_url="", blob_url="", lease_s=600)
    dispatcher = Dispatcher(jobs, BlobStore("memory:///"), engine, lambda: True, config)
    dispatcher._unsettled = [Exit(Attempt(job_id, 1), *explain(-9, out_of_memory=False)) for job_id in (broken, other)]
    dispatcher.run(stop)
    assert jobs.get(other).crashes == 1
    assert engine.launched, "and it went on to claim"


class FailsOnce(MemoryJobStore):
    """A store whose first look at leases goes wrong in a way that is no outage."""

    failed = False

    def leases(self) -> Sequence[Lease]:
        if not self.failed:
            self.failed = True
            raise RuntimeError("something nobody thought of")
        return super().leases()


def test_a_turn_that_goes_wrong_is_followed_by_another(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(dispatcher_module, "_AWAY_S", 0.0)
    jobs, stop = FailsOnce(), StopRequest()
    job_id = jobs.submit(SPEC).id
    engine = EndsWhenAsked(stop)
    config = DispatchConfig(database_url="", blob_url="", lease_s=600)
    Dispatcher(jobs, BlobStore("memory:///"), engine, lambda: True, config).run(stop)
    assert engine.launched == [Attempt(job_id, 1)]
    assert "this turn of the dispatcher was broken off" in caplog.text
