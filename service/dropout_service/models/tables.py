"""The ``models`` table."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, String, Table

from dropout_service.database.metadata import Identifier, metadata

__all__ = ["models"]

models = Table(
    "models",
    metadata,
    Column("id", Identifier(80), primary_key=True),
    # No foreign key: a model outlives the job that made it.
    Column("job_id", Identifier(80), nullable=False, index=True),
    Column("name", String(200), nullable=True),
    Column("task", String(32), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("digest", String(80), nullable=False),
    Column("weights_digest", String(80), nullable=False),
    Column("description", JSON, nullable=False),
    Column("blob_key", String(200), nullable=False),
    Column("created_at", Double, nullable=False),
)
