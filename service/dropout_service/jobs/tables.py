"""The tables of jobs and their events. Times are seconds since 1970 by the database's clock."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, ForeignKey, Index, Integer, String, Table

from dropout_service.database.metadata import Identifier, metadata

__all__ = ["events", "jobs"]

jobs = Table(
    "jobs",
    metadata,
    Column("id", Identifier(64), primary_key=True),
    Column("spec", JSON, nullable=False),
    # The least version of `training.stored` that can read it: who is older leaves the job in the queue.
    Column("spec_version", Integer, nullable=False, server_default="1"),
    Column("dataset", Identifier(80), nullable=False),
    Column("status", String(16), nullable=False),
    Column("stop_reason", String(16)),
    Column("failure", JSON(none_as_null=True)),
    Column("model", Identifier(80)),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("finished_at", Double),
    Column("attempt", Integer, nullable=False),
    Column("phase", String(16)),
    Column("max_attempts", Integer, nullable=False),
    Column("crashes", Integer, nullable=False),
    Column("dispatcher", String(64)),
    Column("lease_expires_at", Double),
    Column("progress", Double, nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("rate_since", Double),
    Column("rate_progress", Double, nullable=False),
    Column("heartbeat_at", Double),
    Column("checkpoints", JSON, nullable=False),
    Column("last_sequence", Integer, nullable=False),
    Column("metrics_sequence", Integer),
    Column("priority", Integer, nullable=False, server_default="0"),
    Column("max_memory_bytes", BigInteger),
    Column("retry_at", Double),
    Column("restored_step", BigInteger),
    # Lists by status.
    Index(None, "status", "id"),
    Index(None, "dataset"),
)
# What to claim next.
Index("ix_jobs_status_priority_id", jobs.c.status, jobs.c.priority.desc(), jobs.c.id)

events = Table(
    "job_events",
    metadata,
    Column("job_id", ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("type", String(16), nullable=False),
    Column("at", Double, nullable=False),
    # The epoch whose metrics the event holds.
    Column("epoch", Integer),
    Column("data", JSON, nullable=False),
    Index(None, "job_id", "epoch"),
)
