"""Jobs with their events, datasets, models, idempotency keys."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None
works_with = "0001"


def _identifier(length: int) -> sa.String:
    """Sort by bytes on PostgreSQL too, whatever language its server was set up with."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", _identifier(64), nullable=False),
        sa.Column("spec", sa.JSON, nullable=False),
        sa.Column("dataset", _identifier(80), nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("stop_reason", sa.String(16)),
        sa.Column("failure", sa.JSON),
        sa.Column("model", _identifier(80)),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.Column("started_at", sa.Double),
        sa.Column("finished_at", sa.Double),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("max_attempts", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("dispatcher", sa.String(64)),
        sa.Column("lease_expires_at", sa.Double),
        sa.Column("progress", sa.Double, nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("rate_since", sa.Double),
        sa.Column("rate_progress", sa.Double, nullable=False),
        sa.Column("heartbeat_at", sa.Double),
        sa.Column("checkpoints", sa.JSON, nullable=False),
        sa.Column("last_sequence", sa.Integer, nullable=False),
        sa.Column("metrics_sequence", sa.Integer),
        sa.PrimaryKeyConstraint("id", name="pk_jobs"),
    )
    op.create_index("ix_jobs_status_id", "jobs", ["status", "id"])
    op.create_index("ix_jobs_dataset", "jobs", ["dataset"])
    op.create_table(
        "job_events",
        sa.Column("job_id", _identifier(64), nullable=False),
        sa.Column("sequence", sa.Integer, nullable=False),
        sa.Column("type", sa.String(16), nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("epoch", sa.Integer),
        sa.Column("data", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("job_id", "sequence", name="pk_job_events"),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_job_events_job_id_jobs", ondelete="CASCADE"),
    )
    op.create_index("ix_job_events_job_id_epoch", "job_events", ["job_id", "epoch"])
    op.create_table(
        "idempotency_keys",
        sa.Column("operation", sa.String(200), nullable=False),
        sa.Column("key", sa.String(255), nullable=False),
        sa.Column("body_hash", sa.String(80), nullable=False),
        sa.Column("expires_at", sa.Double, nullable=False),
        sa.Column("status_code", sa.Integer),
        sa.Column("headers", sa.JSON),
        sa.Column("body", sa.LargeBinary),
        sa.PrimaryKeyConstraint("operation", "key", name="pk_idempotency_keys"),
    )
    op.create_index("ix_idempotency_keys_expires_at", "idempotency_keys", ["expires_at"])
    op.create_table(
        "datasets",
        sa.Column("id", _identifier(80), nullable=False),
        sa.Column("name", sa.String(200), nullable=False),
        sa.Column("format", sa.String(16), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("schema", sa.JSON, nullable=False),
        sa.Column("blob_key", sa.String(200), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_datasets"),
        sa.UniqueConstraint("digest", name="uq_datasets_digest"),
    )
    op.create_index("ix_datasets_created_at_id", "datasets", ["created_at", "id"])
    op.create_table(
        "models",
        sa.Column("id", _identifier(80), nullable=False),
        sa.Column("job_id", _identifier(80), nullable=False),
        sa.Column("name", sa.String(200)),
        sa.Column("task", sa.String(32), nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.String(80), nullable=False),
        sa.Column("weights_digest", sa.String(80), nullable=False),
        sa.Column("description", sa.JSON, nullable=False),
        sa.Column("blob_key", sa.String(200), nullable=False),
        sa.Column("created_at", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_models"),
    )
    op.create_index("ix_models_job_id", "models", ["job_id"])


def downgrade() -> None:
    for table in ("models", "datasets", "idempotency_keys", "job_events", "jobs"):
        op.drop_table(table)
