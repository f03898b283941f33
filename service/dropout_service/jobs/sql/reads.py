"""The queries, on SQL."""

# ruff: noqa: D102 - documented where the protocol is, in jobs.store

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import exists, select

from dropout_service.database.engine import reading
from dropout_service.jobs import lifecycle
from dropout_service.jobs.history import attempts_of
from dropout_service.jobs.job import JobStatus
from dropout_service.jobs.rows import event_of, job_of, status_of
from dropout_service.jobs.sql.transactions import JOB_WITH_METRICS, SqlPart, must_exist, rows_in
from dropout_service.jobs.tables import events as events_table
from dropout_service.jobs.tables import jobs as jobs_table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection

    from dropout_service.jobs.events import Event
    from dropout_service.jobs.history import AttemptRecord
    from dropout_service.jobs.job import Job

__all__ = ["SqlJobReads"]

_ENDED = [status for status in JobStatus if status.terminal]


class SqlJobReads(SqlPart):
    """See :class:`~dropout_service.jobs.store.JobReads`."""

    def get(self, job_id: str) -> Job:
        with reading(self._engine) as connection:
            row = connection.execute(JOB_WITH_METRICS.where(jobs_table.c.id == job_id)).mappings().first()
        if row is None:
            raise lifecycle.no_such(job_id)
        return job_of(row)

    def list(self, *, limit: int, after: str | None = None, status: JobStatus | None = None) -> Sequence[Job]:
        conditions: list[ColumnElement[bool]] = []
        if after is not None:
            conditions.append(jobs_table.c.id < after)
        if status is not None:
            conditions.append(jobs_table.c.status == status)
        page = JOB_WITH_METRICS.where(*conditions).order_by(jobs_table.c.id.desc()).limit(limit)
        with reading(self._engine) as connection:
            return [job_of(row) for row in connection.execute(page).mappings()]

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
                must_exist(connection, job_id)
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
                must_exist(connection, job_id)
        return found

    def sequences(self, job_ids: Sequence[str]) -> Mapping[str, tuple[int, JobStatus]]:
        columns = (jobs_table.c.id, jobs_table.c.last_sequence, jobs_table.c.status)
        rows = rows_in(self._engine, columns, job_ids)
        return {row["id"]: (row["last_sequence"], status_of(row["status"])) for row in rows}

    def uses_dataset(self, dataset_id: str, *, connection: Connection | None = None) -> bool:
        using = select(exists().where(jobs_table.c.dataset == dataset_id, jobs_table.c.status.not_in(_ENDED)))
        with reading(self._engine) if connection is None else nullcontext(connection) as transaction:
            return bool(transaction.execute(using).scalar_one())
