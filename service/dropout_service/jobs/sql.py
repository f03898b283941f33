"""The job store on SQL. Each method reads the job under the write lock, applies a rule, and writes what changed."""

# ruff: noqa: D102 - documented where the protocol is, in jobs.store

from __future__ import annotations

import logging
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, delete, exists, insert, or_, select, update

from dropout_service.database.clock import now_s
from dropout_service.database.engine import reading, writing
from dropout_service.database.ids import new_id
from dropout_service.database.notifications import notify
from dropout_service.database.references import parts_for_in
from dropout_service.jobs import lifecycle
from dropout_service.jobs.attempts import HELD_UP_S, Attempt, Command, Lease
from dropout_service.jobs.history import attempts_of
from dropout_service.jobs.job import MAX_ATTEMPTS, Failure, Job, JobStatus, StopReason
from dropout_service.jobs.rows import STORED, event_of, event_values, job_of, new_values, status_of, values_of
from dropout_service.jobs.tables import events as events_table
from dropout_service.jobs.tables import jobs as jobs_table
from dropout_service.training.stored import SPEC_VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, Select

    from dropout_service.jobs.attempts import Outcome, Report
    from dropout_service.jobs.events import Event
    from dropout_service.jobs.history import AttemptRecord
    from dropout_service.jobs.lifecycle import Change
    from dropout_service.training.spec import TrainingSpec

__all__ = ["SqlJobStore"]

logger = logging.getLogger(__name__)

_latest_metrics = events_table.alias("latest_metrics")
_JOB_WITH_METRICS: Select[Any] = select(jobs_table, _latest_metrics.c.data.label("metrics")).outerjoin(
    _latest_metrics,
    and_(
        _latest_metrics.c.job_id == jobs_table.c.id,
        _latest_metrics.c.sequence == jobs_table.c.metrics_sequence,
    ),
)
_ACTIVE = [status for status in JobStatus if status.active]
_ENDED = [status for status in JobStatus if status.terminal]


class SqlJobStore:
    """Jobs in an SQL database; see :class:`~dropout_service.jobs.store.JobStore`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def submit(
        self,
        spec: TrainingSpec,
        *,
        max_attempts: int = MAX_ATTEMPTS,
        priority: int = 0,
        max_memory_bytes: int | None = None,
        in_transaction: Callable[[Connection, Job], None] | None = None,
    ) -> Job:
        with writing(self._engine) as connection:
            change = lifecycle.submitted(
                new_id("job"),
                spec,
                _now(connection),
                max_attempts=max_attempts,
                priority=priority,
                max_memory_bytes=max_memory_bytes,
            )
            connection.execute(insert(jobs_table).values(new_values(change.job, spec)))
            _tell(connection, change.events)
            if in_transaction is not None:
                in_transaction(connection, change.job)
        return change.job

    def claim(self, n: int, *, dispatcher: str, lease_s: float) -> Sequence[Job]:
        due = select(jobs_table.c.id).where(_due())
        with reading(self._engine) as connection:  # mostly there is none, and no writer needs to wait for that
            if connection.execute(due.limit(1)).first() is None:
                return []
        with writing(self._engine) as connection:
            in_turn = due.order_by(jobs_table.c.priority.desc(), jobs_table.c.id).limit(n)
            waiting = _lock(connection, in_turn, skip_locked=True)
            _set_aside(connection, [job for job, _ in waiting if job.unreadable])
            return [
                _write(connection, job, lifecycle.claimed(job, now, dispatcher=dispatcher, lease_s=lease_s))
                for job, now in waiting
                if not job.unreadable
            ]

    def heartbeat(self, attempt: Attempt, report: Report, *, lease_s: float) -> Command:
        with writing(self._engine) as connection:
            held = _held(connection, attempt)
            if held is None:
                return Command.FENCED
            job, now = held
            change = lifecycle.reported(job, attempt.token, report, now, lease_s=lease_s)
            if change is not None:
                _write(connection, job, change)
            return lifecycle.command(job.attempt, job.status, attempt.token)

    def finish(
        self,
        attempt: Attempt,
        outcome: Outcome,
        report: Report | None = None,
        *,
        in_transaction: Callable[[Connection], None] | None = None,
    ) -> bool:
        with writing(self._engine) as connection:
            held = _held(connection, attempt)
            if held is None:
                return False
            job, now = held
            change = lifecycle.finished(job, attempt.token, outcome, report, now)
            if change is None:
                return lifecycle.has_ended_with(job, outcome)
            counts = change.job.stop_reason is outcome.stop_reason
            if in_transaction is not None and change.job.status is JobStatus.SUCCEEDED:
                in_transaction(connection)
            _write(connection, job, change)
            return counts

    def release(self, attempt: Attempt, report: Report, *, reason: str, message: str = "") -> bool:
        with writing(self._engine) as connection:
            held = _held(connection, attempt)
            if held is None:
                return False
            job, now = held
            change = lifecycle.released(job, attempt.token, report, now, reason=reason, message=message)
            if change is not None:
                _write(connection, job, change)
            return change is not None

    def crash(self, attempt: Attempt, stop_reason: StopReason, failure: Failure) -> Job | None:
        with writing(self._engine) as connection:
            held = _held(connection, attempt)
            if held is None:
                return None
            job, now = held
            change = lifecycle.crashed(job, attempt.token, stop_reason, failure, now)
            return None if change is None else _write(connection, job, change)

    def leases(self) -> Sequence[Lease]:
        columns = (jobs_table.c.id, jobs_table.c.attempt, jobs_table.c.dispatcher, jobs_table.c.heartbeat_at)
        with reading(self._engine) as connection:
            rows = connection.execute(select(*columns).where(jobs_table.c.status.in_(_ACTIVE))).all()
        return [Lease(Attempt(job_id, token), dispatcher or "", at or 0.0) for job_id, token, dispatcher, at in rows]

    def expired(self, *, exclude: Container[Attempt] = ()) -> Sequence[Job]:
        over = and_(
            jobs_table.c.status.in_(_ACTIVE),
            or_(jobs_table.c.lease_expires_at < now_s(), jobs_table.c.heartbeat_at > now_s()),
        )
        with reading(self._engine) as connection:  # as in claim
            found = connection.execute(select(jobs_table.c.id, jobs_table.c.attempt).where(over)).all()
            if all(Attempt(job_id, token) in exclude for job_id, token in found):
                return []
        began = time.monotonic()
        with writing(self._engine) as connection:
            if time.monotonic() - began > HELD_UP_S:
                return []
            # One that is locked is being taken back by another dispatcher, or gives a sign of life right now.
            taken = _lock(connection, select(jobs_table.c.id).where(over), skip_locked=True)
            silent = [(job, now) for job, now in taken if Attempt(job.id, job.attempt) not in exclude]
            changes = [(job, lifecycle.expired(job, now)) for job, now in silent]
            return [_write(connection, job, change) for job, change in changes if change is not None]

    def commands(self, attempts: Iterable[Attempt]) -> dict[Attempt, Command]:
        asked = list(attempts)
        columns = (jobs_table.c.id, jobs_table.c.attempt, jobs_table.c.status)
        rows = self._in(columns, [attempt.job_id for attempt in asked])
        found = {row["id"]: (row["attempt"], status_of(row["status"])) for row in rows}
        return {
            attempt: lifecycle.command(*found[attempt.job_id], attempt.token)
            if attempt.job_id in found
            else Command.FENCED
            for attempt in asked
        }

    def request_cancel(self, job_id: str) -> Job:
        return self._request(job_id, lifecycle.cancel_requested)

    def request_pause(self, job_id: str) -> Job:
        return self._request(job_id, lifecycle.pause_requested)

    def request_resume(self, job_id: str) -> Job:
        return self._request(job_id, lifecycle.resume_requested)

    def _request(self, job_id: str, rule: Callable[[Job, float], Change | None]) -> Job:
        with writing(self._engine) as connection:
            job, now = _get(connection, job_id)
            change = rule(job, now)
            return job if change is None else _write(connection, job, change)

    def get(self, job_id: str) -> Job:
        with reading(self._engine) as connection:
            row = connection.execute(_JOB_WITH_METRICS.where(jobs_table.c.id == job_id)).mappings().first()
        if row is None:
            raise lifecycle.no_such(job_id)
        return job_of(row)

    def list(self, *, limit: int, after: str | None = None, status: JobStatus | None = None) -> Sequence[Job]:
        conditions: list[ColumnElement[bool]] = []
        if after is not None:
            conditions.append(jobs_table.c.id < after)
        if status is not None:
            conditions.append(jobs_table.c.status == status)
        page = _JOB_WITH_METRICS.where(*conditions).order_by(jobs_table.c.id.desc()).limit(limit)
        with reading(self._engine) as connection:
            return [job_of(row) for row in connection.execute(page).mappings()]

    def delete(self, job_id: str) -> None:
        with writing(self._engine) as connection:
            job, _ = _get(connection, job_id)
            lifecycle.check_deletable(job)
            connection.execute(delete(jobs_table).where(jobs_table.c.id == job_id))

    def attempts(self, job_id: str) -> Sequence[AttemptRecord]:
        # The index of epochs finds the events that are of none, which are few.
        milestones = (
            select(events_table)
            .where(events_table.c.job_id == job_id, events_table.c.epoch.is_(None))
            .order_by(events_table.c.sequence)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(milestones).mappings().all()
        if not rows:  # each job has the event of its submission
            raise lifecycle.no_such(job_id)
        return attempts_of(map(event_of, rows))

    def events(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[Event]:
        page = (
            select(events_table)
            .where(events_table.c.job_id == job_id, events_table.c.sequence > after)
            .order_by(events_table.c.sequence)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(page).mappings().all()
            if not rows:
                _must_exist(connection, job_id)
        return [event_of(row) for row in rows]

    def metrics(self, job_id: str, *, after: int = 0, limit: int = 1000) -> Sequence[dict[str, Any]]:
        page = (
            select(events_table.c.data)
            .where(events_table.c.job_id == job_id, events_table.c.epoch > after)
            .order_by(events_table.c.epoch)
            .limit(limit)
        )
        with reading(self._engine) as connection:
            found = connection.execute(page).scalars().all()
            if not found:
                _must_exist(connection, job_id)
        return found

    def sequences(self, job_ids: Sequence[str]) -> Mapping[str, tuple[int, JobStatus]]:
        columns = (jobs_table.c.id, jobs_table.c.last_sequence, jobs_table.c.status)
        rows = self._in(columns, job_ids)
        return {row["id"]: (row["last_sequence"], status_of(row["status"])) for row in rows}

    def uses_dataset(self, dataset_id: str, *, connection: Connection | None = None) -> bool:
        using = select(exists().where(jobs_table.c.dataset == dataset_id, jobs_table.c.status.not_in(_ENDED)))
        with reading(self._engine) if connection is None else nullcontext(connection) as transaction:
            return bool(transaction.execute(using).scalar_one())

    def _in(self, columns: tuple[Any, ...], job_ids: Sequence[str]) -> list[RowMapping]:
        rows: list[RowMapping] = []
        with reading(self._engine) as connection:
            for part in parts_for_in(job_ids):
                rows += connection.execute(select(*columns).where(jobs_table.c.id.in_(part))).mappings()
        return rows


def _due() -> ColumnElement[bool]:
    return and_(
        jobs_table.c.status == JobStatus.QUEUED,
        jobs_table.c.spec_version <= SPEC_VERSION,  # the others are for later versions of the service
        # As `lifecycle.is_due`.
        or_(
            jobs_table.c.retry_at.is_(None),
            jobs_table.c.retry_at <= now_s(),
            jobs_table.c.retry_at > now_s() + lifecycle.LONGEST_WAIT_S,
        ),
    )


def _now(connection: Connection) -> float:
    return connection.execute(select(now_s())).scalar_one()


def _lock(connection: Connection, ids: Select[Any], *, skip_locked: bool = False) -> list[tuple[Job, float]]:
    """Lock jobs for this transaction and read them as they are then, in the order of `ids`, each with the time.

    Two statements: one that had to wait for a lock would see the row as it is now, but what belongs to it as it was
    before. On SQLite the transaction itself is the lock.
    """
    locked = connection.execute(ids.with_for_update(of=jobs_table, skip_locked=skip_locked)).scalars().all()
    found: dict[str, tuple[Job, float]] = {}
    for part in parts_for_in(locked):
        read = _JOB_WITH_METRICS.add_columns(now_s().label("now")).where(jobs_table.c.id.in_(part))
        found |= {row["id"]: (job_of(row), row["now"]) for row in connection.execute(read).mappings()}
    return [found[job_id] for job_id in locked]


def _held(connection: Connection, attempt: Attempt) -> tuple[Job, float] | None:
    held = select(jobs_table.c.id).where(jobs_table.c.id == attempt.job_id, jobs_table.c.attempt == attempt.token)
    return next(iter(_lock(connection, held)), None)


def _get(connection: Connection, job_id: str) -> tuple[Job, float]:
    found = _lock(connection, select(jobs_table.c.id).where(jobs_table.c.id == job_id))
    if not found:
        raise lifecycle.no_such(job_id)
    return found[0]


def _set_aside(connection: Connection, unreadable: Sequence[Job]) -> None:
    """Leave jobs that this version cannot read to a later one: in the queue they would be in the way of others."""
    for job in unreadable:
        logger.warning("job %s waits for another version of the service: %s", job.id, job.unreadable)
    ids = [job.id for job in unreadable]
    connection.execute(update(jobs_table).where(jobs_table.c.id.in_(ids)).values(spec_version=SPEC_VERSION + 1))


def _must_exist(connection: Connection, job_id: str) -> None:
    if connection.execute(select(jobs_table.c.id).where(jobs_table.c.id == job_id)).first() is None:
        raise lifecycle.no_such(job_id)


def _write(connection: Connection, before: Job, change: Change) -> Job:
    after = change.job
    changed = [name for name in STORED if getattr(before, name) != getattr(after, name)]
    fence = and_(
        jobs_table.c.id == before.id,
        jobs_table.c.attempt == before.attempt,
        jobs_table.c.status == before.status,
    )
    result = connection.execute(update(jobs_table).where(fence).values(values_of(after, changed)))
    if result.rowcount != 1:
        raise AssertionError(f"job {before.id} changed under its lock")
    _tell(connection, change.events)
    return after


def _tell(connection: Connection, told: Sequence[Event]) -> None:
    if told:
        connection.execute(insert(events_table), [event_values(event) for event in told])
        notify(connection)
