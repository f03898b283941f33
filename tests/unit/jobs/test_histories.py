"""Random histories: the store in memory, SQLite and PostgreSQL go through the same and have to agree at every step.

The clock is the test's, in the databases too, and goes back at times. The store in memory is the model; what all three
have to keep is checked besides: nothing is lost, what has ended stays as it is, and a token is given once.
"""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING, Any, TypeVar

import psycopg
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete, event

from dropout_service.database.engine import open_database, writing
from dropout_service.errors import ServiceError
from dropout_service.jobs.attempts import Attempt, Fallback, Outcome, Report, Restored
from dropout_service.jobs.job import Failure, Job, JobStatus, RunOptions, StopReason
from dropout_service.jobs.memory import MemoryJobStore
from dropout_service.jobs.sql import SqlJobStore
from dropout_service.jobs.tables import jobs as jobs_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Engine

    from dropout_service.jobs.store import JobStore
    from dropout_service.training.spec import TrainingSpec

    Call = Callable[[JobStore, list[str]], Any]

T = TypeVar("T")

LEASE_S = 60.0
EXAMPLES = int(os.environ.get("HISTORIES", "25"))
STEPS = 30
JULIAN_1970 = 2440587.5
# `extract(epoch from clock_timestamp())` finds this function before PostgreSQL's own.
SIMULATED_CLOCK = """
CREATE SCHEMA simulated;
CREATE TABLE simulated.clock (now double precision);
INSERT INTO simulated.clock VALUES (0);
CREATE FUNCTION simulated.clock_timestamp() RETURNS timestamptz LANGUAGE sql
  AS 'SELECT to_timestamp(now) FROM simulated.clock'
"""
PICKS = st.integers(0, 255)
PRIORITIES = st.integers(-1, 1)
ACTIVE = [status for status in JobStatus if status.active]
DIED = Failure(code="crashed", phase=None, epoch=None, message="the process died")


class Clock:
    """One time for all stores, in hundredths of a second."""

    def __init__(self, sqlite: Engine, postgresql: psycopg.Connection[Any]) -> None:
        self.ticks = 0
        self._postgresql = postgresql

        def connected(connection: Any, _record: object) -> None:
            connection.create_function("julianday", 1, lambda _now: JULIAN_1970 + self() / 86_400)

        event.listen(sqlite, "connect", connected)

    def __call__(self) -> float:
        return self.ticks / 100

    def set(self, ticks: int) -> None:
        self.ticks = ticks
        self._postgresql.execute("UPDATE simulated.clock SET now = %s", [self()])


@dataclasses.dataclass
class World:
    """The databases, and the clock that they share with the store in memory."""

    clock: Clock
    sqlite: Engine
    postgresql: Engine
    spec: TrainingSpec

    def stores(self) -> dict[str, JobStore]:
        """Return all stores, empty."""
        for engine in (self.sqlite, self.postgresql):
            with writing(engine) as connection:
                connection.execute(delete(jobs_table))
        self.clock.set(100_000_000)
        return {
            "memory": MemoryJobStore(self.clock),
            "sqlite": SqlJobStore(self.sqlite),
            "postgresql": SqlJobStore(self.postgresql),
        }


@pytest.fixture
def world(sqlite_url: str, postgresql_url: str, spec: TrainingSpec) -> Iterator[World]:
    sqlite = open_database(sqlite_url)
    postgresql = open_database(f"{postgresql_url}&options=-c%20search_path%3Dsimulated,pg_catalog,public")
    with psycopg.connect(postgresql_url, autocommit=True) as own:
        own.execute(SIMULATED_CLOCK)
        yield World(Clock(sqlite, own), sqlite, postgresql, spec)
    sqlite.dispose()
    postgresql.dispose()


def comparable(value: Any, names: dict[str, str]) -> Any:
    """Write a value with the same names for the same jobs, and with times that no store's arithmetic blurs."""
    if isinstance(value, float):
        return round(value, 2)
    if isinstance(value, str):
        for job_id, name in names.items():
            value = value.replace(job_id, name)
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return type(value).__name__, comparable(fields, names)
    if isinstance(value, dict):
        return {comparable(key, names): comparable(entry, names) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [comparable(entry, names) for entry in value]
    return value


def _one_of(likely: Sequence[T], possible: Sequence[T], pick: int) -> T:
    chosen = likely if likely and pick % 8 else possible
    return chosen[pick // 8 % len(chosen)]


class Histories(RuleBasedStateMachine):
    """What users, dispatchers and attempts may do, in any order."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.stores = world.stores()
        self.ids: dict[str, list[str]] = {name: [] for name in self.stores}
        self.deleted: set[int] = set()
        self.given: list[tuple[int, int]] = []
        self.ended: dict[int, Any] = {}
        self.checkpoints = 0

    def all(self, call: Call) -> Any:
        """Ask every store the same at the next moment, and return the answer that they agree on."""
        self._tick()
        return self._agreed(call)

    def _agreed(self, call: Call) -> Any:
        answers = {name: self._ask(name, call) for name in self.stores}
        for name, answer in answers.items():
            assert answer == answers["memory"], f"{name} and the model do not agree"
        return answers["memory"]

    def _ask(self, name: str, call: Call) -> Any:
        ids = self.ids[name]
        try:
            answer = call(self.stores[name], ids)
        except ServiceError as error:
            answer = [type(error).__name__, error.message]
        return comparable(answer, {job_id: f"<{number}>" for number, job_id in enumerate(ids)})

    def _tick(self) -> None:
        """Let time pass, to a moment that no store can take for the very beginning or end of a lease or a wait."""
        clock = self.world.clock
        model = self.stores["memory"].list(limit=1000)
        moments = [at for job in model for at in (job.lease_expires_at, job.heartbeat_at, job.retry_at)]
        taken = {round(100 * at) for at in moments if at is not None}
        ticks = clock.ticks + 1
        while ticks in taken:
            ticks += 1
        clock.set(ticks)

    def job(self, number: int) -> Job | None:
        """Return a job as the model has it."""
        if number in self.deleted:
            return None
        return self.stores["memory"].get(self.ids["memory"][number])

    def standing(self, *statuses: JobStatus) -> list[int]:
        """Return the jobs that stand so in the model."""
        found = {job.id for job in self.stores["memory"].list(limit=1000) if job.status in statuses}
        return [number for number, job_id in enumerate(self.ids["memory"]) if job_id in found]

    def a_job(self, pick: int) -> int:
        """Choose one: mostly one that has not ended, at times one that has, or is no more."""
        likely = self.standing(*(status for status in JobStatus if not status.terminal))
        return _one_of(likely, range(len(self.ids["memory"])), pick)

    def an_attempt(self, pick: int) -> tuple[int, int]:
        """Choose one: mostly one that holds its job, at times one that has lost it."""
        active = set(self.standing(*ACTIVE))
        likely = [(n, token) for n, token in self.given if n in active and token == self.job(n).attempt]
        return _one_of(likely, self.given, pick)

    def report(self, job: Job | None, *, new: int, repeated: int, checkpoint: str) -> Report:
        """Make what an attempt would tell: the next epochs, perhaps after some that the job has already."""
        known = 0 if job is None else job.epoch
        numbers = range(max(1, known + 1 - repeated), known + new + 1)
        self.checkpoints += checkpoint == "new"
        key = None if checkpoint == "none" else f"checkpoint-{self.checkpoints}"
        epochs = tuple({"epoch": number, "train": {"loss": 1 / number}} for number in numbers)
        return Report(min(1.0, (known + new) / 16), epochs, key)

    # What users do.

    @initialize(
        priorities=st.lists(PRIORITIES, min_size=3, max_size=6), max_attempts=st.integers(1, 4), n=st.integers(1, 3)
    )
    def begin(self, priorities: list[int], max_attempts: int, n: int) -> None:
        # Hypothesis leaves rules out of a history, for variety; each begins with something that runs, all the same.
        for priority in priorities:
            self.submit(max_attempts=max_attempts, priority=priority)
        self.claim(n=n, dispatcher="a")

    @rule(max_attempts=st.integers(1, 4), priority=PRIORITIES)
    def submit(self, max_attempts: int, priority: int) -> None:
        def call(store: JobStore, ids: list[str]) -> Job:
            job = store.submit(self.world.spec, RunOptions(max_attempts=max_attempts, priority=priority))
            ids.append(job.id)
            return job

        self.all(call)

    @rule(pick=PICKS)
    def cancel(self, pick: int) -> None:
        number = self.a_job(pick)
        self.all(lambda store, ids: store.request_cancel(ids[number]))

    @rule(pick=PICKS)
    def pause(self, pick: int) -> None:
        number = self.a_job(pick)
        self.all(lambda store, ids: store.request_pause(ids[number]))

    @precondition(lambda self: self.standing(JobStatus.PAUSED, JobStatus.PAUSING))
    @rule(pick=PICKS)
    def resume(self, pick: int) -> None:
        number = _one_of(self.standing(JobStatus.PAUSED, JobStatus.PAUSING), range(len(self.ids["memory"])), pick)
        self.all(lambda store, ids: store.request_resume(ids[number]))

    @precondition(lambda self: self.ended)
    @rule(pick=PICKS)
    def delete(self, pick: int) -> None:
        number = _one_of(sorted(self.ended), range(len(self.ids["memory"])), pick)
        if self.all(lambda store, ids: store.delete(ids[number])) is None:
            self.deleted.add(number)

    # What dispatchers do.

    @precondition(lambda self: self.standing(JobStatus.QUEUED))
    @rule(n=st.integers(1, 3), dispatcher=st.sampled_from(["a", "b"]))
    def claim(self, n: int, dispatcher: str) -> None:
        claimed = self.all(lambda store, _ids: store.claim(n, dispatcher=dispatcher, lease_s=LEASE_S))
        attempts = [(int(job["id"][1:-1]), job["attempt"]) for _, job in claimed]
        assert not {*self.given} & {*attempts}, "a token was given twice"
        self.given += attempts

    @precondition(lambda self: self.standing(*ACTIVE))
    @rule(spare=st.booleans())
    def expire(self, *, spare: bool) -> None:
        spared = self.given[-1:] if spare else []

        def call(store: JobStore, ids: list[str]) -> list[Job]:
            found = store.expired(exclude=[Attempt(ids[number], token) for number, token in spared])
            return sorted(found, key=lambda job: job.id)

        self.all(call)

    @precondition(lambda self: self.given)
    @rule(pick=PICKS, reason=st.sampled_from(["lost", "out_of_memory", "error"]), times=st.integers(1, 3))
    def crash(self, pick: int, reason: str, times: int) -> None:
        number, token = self.an_attempt(pick)
        for _ in range(times):  # as often as it is given out again at once
            self.all(lambda store, ids, token=token: store.crash(Attempt(ids[number], token), StopReason(reason), DIED))
            if times > 1:
                self.claim(n=3, dispatcher="a")
            token = max(given for job, given in self.given if job == number)

    # What attempts do, those that have lost their job too.

    @precondition(lambda self: self.given)
    @rule(
        pick=PICKS,
        new=st.integers(0, 3),
        repeated=st.integers(0, 2),
        checkpoint=st.sampled_from(["none", "new", "again"]),
        sent=st.integers(1, 2),
    )
    def heartbeat(self, pick: int, new: int, repeated: int, checkpoint: str, sent: int) -> None:
        number, token = self.an_attempt(pick)
        report = self.report(self.job(number), new=new, repeated=repeated, checkpoint=checkpoint)
        for _ in range(sent):  # once more when the answer to the first got lost
            self.all(lambda store, ids: store.heartbeat(Attempt(ids[number], token), report, lease_s=LEASE_S))

    @precondition(lambda self: self.given)
    @rule(pick=PICKS, epoch=st.integers(0, 3), fell_back=st.booleans())
    def go_on(self, pick: int, epoch: int, *, fell_back: bool) -> None:
        number, token = self.an_attempt(pick)
        job = self.job(number)
        damaged = () if job is None else job.checkpoints[:1]
        report = Report(
            0.5,
            fallback=Fallback(damaged, epoch, "cannot be read") if fell_back and damaged else None,
            restored=Restored(epoch, 10 * epoch),
        )
        self.all(lambda store, ids: store.heartbeat(Attempt(ids[number], token), report, lease_s=LEASE_S))

    @precondition(lambda self: self.given)
    @rule(pick=PICKS, reason=st.sampled_from(StopReason), new=st.integers(0, 2), sent=st.integers(1, 2))
    def finish(self, pick: int, reason: StopReason, new: int, sent: int) -> None:
        number, token = self.an_attempt(pick)
        succeeded = reason.status is JobStatus.SUCCEEDED
        outcome = Outcome(
            reason,
            model=f"model-{number}-{token}" if succeeded else None,
            failure=DIED if reason.status is JobStatus.FAILED else None,
        )
        report = self.report(self.job(number), new=new, repeated=0, checkpoint="none") if new else None
        counts = [
            self.all(lambda store, ids: store.finish(Attempt(ids[number], token), outcome, report)) for _ in range(sent)
        ]
        # A success that is told again is the same success; a failure that is told again found its job ended.
        assert counts == [counts[0]] * sent or not succeeded

    @precondition(lambda self: self.given)
    @rule(pick=PICKS, new=st.integers(0, 2), checkpoint=st.sampled_from(["none", "new"]))
    def release(self, pick: int, new: int, checkpoint: str) -> None:
        number, token = self.an_attempt(pick)
        report = self.report(self.job(number), new=new, repeated=1, checkpoint=checkpoint)
        self.all(lambda store, ids: store.release(Attempt(ids[number], token), report, reason="shutdown"))

    # What time does. It goes back too, as the clock of a machine does when it is set.

    @rule(seconds=st.sampled_from([0.5, 3, 45, 90, 4000, -30, -5000]))
    def pass_time(self, seconds: float) -> None:
        self.world.clock.set(self.world.clock.ticks + round(100 * seconds))

    # What everybody may read.

    @precondition(lambda self: self.given)
    @rule(after=st.integers(0, 5), limit=st.integers(1, 4))
    def read(self, after: int, limit: int) -> None:
        attempts = list(self.given)
        self.all(lambda store, ids: list(store.commands([Attempt(ids[n], token) for n, token in attempts]).values()))
        self.all(lambda store, ids: store.sequences(ids))
        self.all(lambda store, _ids: sorted(store.leases()))
        number = attempts[-1][0]
        self.all(lambda store, ids: store.metrics(ids[number], after=after, limit=limit))
        self.all(lambda store, ids: store.attempts(ids[number]))
        self.all(lambda store, ids: store.list(limit=limit, after=ids[min(after, len(ids) - 1)]))
        for status in JobStatus:
            self.all(lambda store, _ids, status=status: store.list(limit=limit, status=status))

    @rule(pick=PICKS)
    def read_a_history(self, pick: int) -> None:
        self.read_history(self.a_job(pick))

    def read_history(self, number: int) -> None:
        told = self.all(lambda store, ids: store.events(ids[number]))
        if number in self.deleted:
            return
        events = [fields for _, fields in told]
        assert [one["sequence"] for one in events] == list(range(1, len(events) + 1))
        terminal = [one["type"] in {"succeeded", "failed", "cancelled"} for one in events]
        job = self.job(number)
        assert job is not None
        assert terminal == [False] * (len(events) - 1) + [job.status.terminal]
        tokens = [one["data"]["attempt"] for one in events if one["type"] == "started"]
        assert tokens == list(range(1, len(tokens) + 1))
        epochs = [one["data"]["epoch"] for one in events if one["type"] == "epoch"]
        assert epochs == sorted(set(epochs))

    @invariant()
    def the_same_jobs_stand_the_same(self) -> None:
        rows = {
            int(fields["id"][1:-1]): fields for _, fields in self._agreed(lambda store, _ids: store.list(limit=1000))
        }
        assert set(rows) == set(range(len(self.ids["memory"]))) - self.deleted, "a job was lost"
        for number, fields in rows.items():
            status = JobStatus(fields["status"])
            assert status.active == (fields["lease_expires_at"] is not None) == (fields["dispatcher"] is not None)
            if status.terminal:
                assert self.ended.setdefault(number, fields) == fields, "a job that has ended has changed"

    def teardown(self) -> None:
        for number in range(len(self.ids["memory"])):
            self.read_history(number)


def test_every_store_goes_through_the_same_histories(world: World):
    run_state_machine_as_test(
        lambda: Histories(world),
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
