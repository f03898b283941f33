"""The calls of attempts, on SQL."""

# ruff: noqa: D102 - documented where the protocol is, in jobs.store

from __future__ import annotations

from typing import TYPE_CHECKING

from dropout_service.database.engine import writing
from dropout_service.jobs import lifecycle
from dropout_service.jobs.attempts import Command
from dropout_service.jobs.job import JobStatus
from dropout_service.jobs.rows import status_of
from dropout_service.jobs.sql.transactions import SqlPart, lock_held, rows_in, write
from dropout_service.jobs.tables import jobs as jobs_table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from dropout_service.jobs.attempts import Attempt, Outcome, Report

__all__ = ["SqlAttemptReports"]


class SqlAttemptReports(SqlPart):
    """See :class:`~dropout_service.jobs.store.AttemptReports`."""

    def heartbeat(self, attempt: Attempt, report: Report, *, lease_s: float) -> Command:
        with writing(self._engine) as connection:
            held = lock_held(connection, attempt)
            if held is None:
                return Command.FENCED
            job, now = held
            change = lifecycle.reported(job, attempt.token, report, now, lease_s=lease_s)
            if change is not None:
                write(connection, job, change)
            return lifecycle.command(job.attempt, job.status, attempt.token)

    def commands(self, attempts: Iterable[Attempt]) -> dict[Attempt, Command]:
        asked = list(attempts)
        columns = (jobs_table.c.id, jobs_table.c.attempt, jobs_table.c.status)
        rows = rows_in(self._engine, columns, [attempt.job_id for attempt in asked])
        found = {row["id"]: (row["attempt"], status_of(row["status"])) for row in rows}
        return {
            attempt: lifecycle.command(*found[attempt.job_id], attempt.token)
            if attempt.job_id in found
            else Command.FENCED
            for attempt in asked
        }

    def release(self, attempt: Attempt, report: Report, *, reason: str, message: str = "") -> bool:
        with writing(self._engine) as connection:
            held = lock_held(connection, attempt)
            if held is None:
                return False
            job, now = held
            change = lifecycle.released(job, attempt.token, report, now, reason=reason, message=message)
            if change is not None:
                write(connection, job, change)
            return change is not None

    def finish(
        self,
        attempt: Attempt,
        outcome: Outcome,
        report: Report | None = None,
        *,
        in_transaction: Callable[[Connection], None] | None = None,
    ) -> bool:
        with writing(self._engine) as connection:
            held = lock_held(connection, attempt)
            if held is None:
                return False
            job, now = held
            change = lifecycle.finished(job, attempt.token, outcome, report, now)
            if change is None:
                return lifecycle.has_ended_with(job, outcome)
            counts = change.job.stop_reason is outcome.stop_reason
            if in_transaction is not None and change.job.status is JobStatus.SUCCEEDED:
                in_transaction(connection)
            write(connection, job, change)
            return counts
