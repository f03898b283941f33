"""Bring a database to the present schema. Safe when several processes start at once: one migrates, others wait."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import text

from dropout_service.database.engine import open_database, writing

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["upgrade"]

ADVISORY_LOCK = 0x64726F706F7574
"""Any number of our own: PostgreSQL's lock of whoever migrates."""


def upgrade(url: str, revision: str = "head") -> None:
    """Migrate the database at a URL, which is created when it is missing.

    Parameters
    ----------
    url
        A SQLAlchemy URL.
    revision
        The revision to reach.
    """
    engine = open_database(url)
    try:
        # One transaction, so that a migration that fails leaves the database as it was. On SQLite the write lock
        # of the transaction is what others wait for.
        with writing(engine) as connection:
            if connection.dialect.name == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": ADVISORY_LOCK})
            command.upgrade(alembic_config(connection), revision)
    finally:
        engine.dispose()


def alembic_config(connection: Connection) -> Config:
    """Configure Alembic for the migrations of this package, to run on an open transaction."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config
