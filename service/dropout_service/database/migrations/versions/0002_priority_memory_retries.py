"""Priority, memory limit and retry time of jobs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None
works_with = "0002"


def upgrade() -> None:
    # Column by column, never a copy of the table: dropping the old one would delete every event with its job.
    op.add_column("jobs", sa.Column("priority", sa.Integer, nullable=False, server_default="0"))
    op.add_column("jobs", sa.Column("max_memory_bytes", sa.BigInteger))
    op.add_column("jobs", sa.Column("retry_at", sa.Double))
    op.add_column("jobs", sa.Column("restored_step", sa.BigInteger))
    op.create_index("ix_jobs_status_priority_id", "jobs", ["status", sa.text("priority DESC"), "id"])


def downgrade() -> None:
    op.drop_index("ix_jobs_status_priority_id", "jobs")
    for column in ("restored_step", "retry_at", "max_memory_bytes", "priority"):
        op.drop_column("jobs", column)
