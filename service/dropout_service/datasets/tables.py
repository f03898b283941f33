"""The ``datasets`` table."""

from __future__ import annotations

from sqlalchemy import JSON, BigInteger, Column, Double, Index, String, Table

from dropout_service.database.metadata import Identifier, metadata

__all__ = ["datasets"]

datasets = Table(
    "datasets",
    metadata,
    Column("id", Identifier(80), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("format", String(16), nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("digest", String(80), nullable=False, unique=True),
    Column("schema", JSON, nullable=False),
    Column("blob_key", String(200), nullable=False),
    Column("created_at", Double, nullable=False),
    Index(None, "created_at", "id"),  # the order of lists
)
