"""Steps of every transaction on jobs: lock and read a job, write what changed, append its events."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, insert, select, update

from dropout_service.database.clock import now_s
from dropout_service.database.engine import reading
from dropout_service.database.notifications import notify
from dropout_service.database.references import parts_for_in
from dropout_service.jobs import lifecycle
from dropout_service.jobs.job import JobStatus
from dropout_service.jobs.rows import STORED, event_values, job_of, values_of
from dropout_service.jobs.tables import events as events_table
from dropout_service.jobs.tables import jobs as jobs_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Engine, RowMapping, Select

    from dropout_service.jobs.attempts import Attempt
    from dropout_service.jobs.events import Event
    from dropout_service.jobs.job import Job
    from dropout_service.jobs.lifecycle import Change

__all__ = [
    "ACTIVE",
    "JOB_WITH_METRICS",
    "SqlPart",
    "lock",
    "lock_held",
    "lock_one",
    "must_exist",
    "read_clock",
    "rows_in",
    "tell",
    "write",
]

_latest_metrics = events_table.alias("latest_metrics")
JOB_WITH_METRICS: Select[Any] = select(jobs_table, _latest_metrics.c.data.label("metrics")).outerjoin(
    _latest_metrics,
    and_(
        _latest_metrics.c.job_id == jobs_table.c.id,
        _latest_metrics.c.sequence == jobs_table.c.metrics_sequence,
    ),
)
"""A job's row with the metrics of its latest epoch."""
ACTIVE = [status for status in JobStatus if status.active]
"""Statuses in which an attempt holds a job."""


class SqlPart:
    """A part of the store on SQL.

    Parameters
    ----------
    engine
        The database, as ``database.engine.open_database`` gives it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine


def rows_in(engine: Engine, columns: tuple[Any, ...], job_ids: Sequence[str]) -> list[RowMapping]:
    """Read columns of several jobs; those that are gone are left out."""
    rows: list[RowMapping] = []
    with reading(engine) as connection:
        for part in parts_for_in(job_ids):
            rows += connection.execute(select(*columns).where(jobs_table.c.id.in_(part))).mappings()
    return rows


def read_clock(connection: Connection) -> float:
    """Read the time by the database's clock."""
    return connection.execute(select(now_s())).scalar_one()


def lock(connection: Connection, ids: Select[Any], *, skip_locked: bool = False) -> list[tuple[Job, float]]:
    """Lock jobs for this transaction and read them as they are then, in the order of `ids`, each with the time.

    Two statements: one that had to wait for a lock would see the row as it is now, but what belongs to it as it was
    before. On SQLite the transaction itself is the lock.
    """
    locked = connection.execute(ids.with_for_update(of=jobs_table, skip_locked=skip_locked)).scalars().all()
    found: dict[str, tuple[Job, float]] = {}
    for part in parts_for_in(locked):
        read = JOB_WITH_METRICS.add_columns(now_s().label("now")).where(jobs_table.c.id.in_(part))
        found |= {row["id"]: (job_of(row), row["now"]) for row in connection.execute(read).mappings()}
    return [found[job_id] for job_id in locked]


def lock_held(connection: Connection, attempt: Attempt) -> tuple[Job, float] | None:
    """Lock the job that an attempt holds, as ``lock`` does; ``None`` when it holds none."""
    held = select(jobs_table.c.id).where(jobs_table.c.id == attempt.job_id, jobs_table.c.attempt == attempt.token)
    return next(iter(lock(connection, held)), None)


def lock_one(connection: Connection, job_id: str) -> tuple[Job, float]:
    """Lock a job, as ``lock`` does.

    Raises
    ------
    NotFoundError
        No such job.
    """
    found = lock(connection, select(jobs_table.c.id).where(jobs_table.c.id == job_id))
    if not found:
        raise lifecycle.no_such(job_id)
    return found[0]


def must_exist(connection: Connection, job_id: str) -> None:
    """Raise ``NotFoundError`` if there is no such job."""
    if connection.execute(select(jobs_table.c.id).where(jobs_table.c.id == job_id)).first() is None:
        raise lifecycle.no_such(job_id)


def write(connection: Connection, before: Job, change: Change) -> Job:
    """Write what a change changes of a job that is locked; return the job as it is now."""
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
    tell(connection, change.events)
    return after


def tell(connection: Connection, told: Sequence[Event]) -> None:
    """Write events, and notify all who wait for changes when this transaction commits."""
    if told:
        connection.execute(insert(events_table), [event_values(event) for event in told])
        notify(connection)
