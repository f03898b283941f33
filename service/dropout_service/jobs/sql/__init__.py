"""The job store on SQL. Each method reads the job under the write lock, applies a rule, and writes what changed."""

from __future__ import annotations

from dropout_service.jobs.sql.queue import SqlJobQueue
from dropout_service.jobs.sql.reads import SqlJobReads
from dropout_service.jobs.sql.reports import SqlAttemptReports
from dropout_service.jobs.sql.requests import SqlJobRequests

__all__ = ["SqlJobStore"]


class SqlJobStore(SqlJobRequests, SqlJobReads, SqlJobQueue, SqlAttemptReports):
    """Jobs in an SQL database; see :class:`~dropout_service.jobs.store.JobStore`."""
