"""Failures of the database that pass by themselves, and the errors that users see meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from dropout_service.errors import StorageFullError, UnavailableError

if TYPE_CHECKING:
    from sqlalchemy.exc import SQLAlchemyError

__all__ = ["OUTAGES", "explain_outage"]

OUTAGES: tuple[type[SQLAlchemyError], ...] = (
    OperationalError,
    InterfaceError,
    InternalError,  # PostgreSQL: the session was ended, or this server is now a standby
    PoolTimeoutError,
)
"""Locked, read-only, out of space, stopped, out of reach: the same statement may succeed later."""

_FULL = ("disk is full", "no space left", "disk full")


def explain_outage(error: SQLAlchemyError) -> UnavailableError:
    """Say what is wrong with the database, without its statement and values."""
    reason = str(error.orig) if isinstance(error, DBAPIError) else "no connection became free in time"
    # Who sent a request need not learn where the database is; the end of the line says what is wrong with it.
    line = reason.strip().partition("\n")[0].rpartition("failed: ")[2]
    if any(words in reason.lower() for words in _FULL):
        return StorageFullError(f"the disk of the database is full ({line}); try again when there is room")
    return UnavailableError(f"the database does not answer as it should ({line}); try again in a moment")
