"""The calls of dispatchers, on SQL."""

# ruff: noqa: D102 - documented where the protocol is, in jobs.store

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING

from sqlalchemy import and_, or_, select, update

from dropout_service.database.clock import now_s
from dropout_service.database.engine import reading, writing
from dropout_service.jobs import lifecycle
from dropout_service.jobs.attempts import HELD_UP_S, Attempt, Lease
from dropout_service.jobs.job import JobStatus
from dropout_service.jobs.sql.transactions import ACTIVE, SqlPart, lock, lock_held, write
from dropout_service.jobs.tables import jobs as jobs_table
from dropout_service.training.stored import SPEC_VERSION

if TYPE_CHECKING:
    from collections.abc import Container, Sequence

    from sqlalchemy import ColumnElement, Connection

    from dropout_service.jobs.job import Failure, Job, StopReason

__all__ = ["SqlJobQueue"]

logger = logging.getLogger(__name__)


class SqlJobQueue(SqlPart):
    """See :class:`~dropout_service.jobs.store.JobQueue`."""

    def claim(self, n: int, *, dispatcher: str, lease_s: float) -> Sequence[Job]:
        due = select(jobs_table.c.id).where(_due())
        with reading(self._engine) as connection:  # mostly there is none, and no writer needs to wait for that
            if connection.execute(due.limit(1)).first() is None:
                return []
        with writing(self._engine) as connection:
            in_turn = due.order_by(jobs_table.c.priority.desc(), jobs_table.c.id).limit(n)
            waiting = lock(connection, in_turn, skip_locked=True)
            _set_aside(connection, [job for job, _ in waiting if job.unreadable])
            return [
                write(connection, job, lifecycle.claimed(job, now, dispatcher=dispatcher, lease_s=lease_s))
                for job, now in waiting
                if not job.unreadable
            ]

    def leases(self) -> Sequence[Lease]:
        columns = (jobs_table.c.id, jobs_table.c.attempt, jobs_table.c.dispatcher, jobs_table.c.heartbeat_at)
        with reading(self._engine) as connection:
            rows = connection.execute(select(*columns).where(jobs_table.c.status.in_(ACTIVE))).all()
        return [Lease(Attempt(job_id, token), dispatcher or "", at or 0.0) for job_id, token, dispatcher, at in rows]

    def expired(self, *, exclude: Container[Attempt] = ()) -> Sequence[Job]:
        over = and_(
            jobs_table.c.status.in_(ACTIVE),
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
            taken = lock(connection, select(jobs_table.c.id).where(over), skip_locked=True)
            silent = [(job, now) for job, now in taken if Attempt(job.id, job.attempt) not in exclude]
            changes = [(job, lifecycle.expired(job, now)) for job, now in silent]
            return [write(connection, job, change) for job, change in changes if change is not None]

    def crash(self, attempt: Attempt, stop_reason: StopReason, failure: Failure) -> Job | None:
        with writing(self._engine) as connection:
            held = lock_held(connection, attempt)
            if held is None:
                return None
            job, now = held
            change = lifecycle.crashed(job, attempt.token, stop_reason, failure, now)
            return None if change is None else write(connection, job, change)


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


def _set_aside(connection: Connection, unreadable: Sequence[Job]) -> None:
    """Leave jobs that this version cannot read to a later one: in the queue they would be in the way of others."""
    for job in unreadable:
        logger.warning("job %s waits for another version of the service: %s", job.id, job.unreadable)
    ids = [job.id for job in unreadable]
    connection.execute(update(jobs_table).where(jobs_table.c.id.in_(ids)).values(spec_version=SPEC_VERSION + 1))
