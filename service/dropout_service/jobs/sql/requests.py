"""The requests of users, on SQL."""

# ruff: noqa: D102 - documented where the protocol is, in jobs.store

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, insert

from dropout_service.database.engine import writing
from dropout_service.database.ids import new_id
from dropout_service.jobs import lifecycle
from dropout_service.jobs.job import DEFAULT_OPTIONS
from dropout_service.jobs.rows import new_values
from dropout_service.jobs.sql.transactions import SqlPart, lock_one, read_clock, tell, write
from dropout_service.jobs.tables import jobs as jobs_table

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from dropout_service.jobs.job import Job, RunOptions
    from dropout_service.jobs.lifecycle import Change
    from dropout_service.training.spec import TrainingSpec

__all__ = ["SqlJobRequests"]


class SqlJobRequests(SqlPart):
    """See :class:`~dropout_service.jobs.store.JobRequests`."""

    def submit(
        self,
        spec: TrainingSpec,
        options: RunOptions = DEFAULT_OPTIONS,
        *,
        in_transaction: Callable[[Connection, Job], None] | None = None,
    ) -> Job:
        with writing(self._engine) as connection:
            change = lifecycle.submitted(new_id("job"), spec, options, read_clock(connection))
            connection.execute(insert(jobs_table).values(new_values(change.job, spec)))
            tell(connection, change.events)
            if in_transaction is not None:
                in_transaction(connection, change.job)
        return change.job

    def request_cancel(self, job_id: str) -> Job:
        return self._request(job_id, lifecycle.cancel_requested)

    def request_pause(self, job_id: str) -> Job:
        return self._request(job_id, lifecycle.pause_requested)

    def request_resume(self, job_id: str) -> Job:
        return self._request(job_id, lifecycle.resume_requested)

    def _request(self, job_id: str, rule: Callable[[Job, float], Change | None]) -> Job:
        with writing(self._engine) as connection:
            job, now = lock_one(connection, job_id)
            change = rule(job, now)
            return job if change is None else write(connection, job, change)

    def delete(self, job_id: str) -> None:
        with writing(self._engine) as connection:
            job, _ = lock_one(connection, job_id)
            lifecycle.check_deletable(job)
            connection.execute(delete(jobs_table).where(jobs_table.c.id == job_id))
